"""The built-in checkpoint as it is shipped: an ordinary pipeline folder, small, and without code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline

from models.catalog.catalog import HOUSE_FOLDER

SIZE_MAX_BYTES = 80_000_000


@pytest.fixture(scope="module")
def files() -> list[Path]:
    return [path for path in HOUSE_FOLDER.rglob("*") if path.is_file()]


def test_it_is_there_and_small(files: list[Path]) -> None:
    assert HOUSE_FOLDER / "model_index.json" in files
    assert sum(path.stat().st_size for path in files) <= SIZE_MAX_BYTES


def test_its_weights_are_safetensors_and_nothing_in_it_is_code(files: list[Path]) -> None:
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt"}
    for path in files:
        if path.suffix == ".json":
            assert "auto_map" not in json.loads(path.read_text(encoding="utf-8"))


def test_plain_diffusers_loads_it_and_draws() -> None:
    pipeline = DiffusionPipeline.from_pretrained(HOUSE_FOLDER, local_files_only=True, dtype=torch.float32)
    assert type(pipeline) is StableDiffusionPipeline
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    (image,) = pipeline("a red apple", width=128, height=128, num_inference_steps=2, generator=generator).images
    assert image.size == (128, 128)
    assert len(image.getcolors(1 << 16) or []) > 100
