"""The built-in vision model as it is shipped: small, without code, and able to name and compare what it was taught."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL.Image import Image
from safetensors import safe_open

from models.catalog.catalog import HOUSE_FOLDER, Catalog
from models.catalog.concepts import load_concepts
from models.catalog.vision import EYES, EYES_FOLDER, PROJECTION, WEIGHTS
from models.errors import JobFailure
from models.eyes.encoders import IMAGE_GRAPH, TEXT_GRAPH
from models.jobs.results import JobOutput
from models.jobs.vision import ClassifyParams, DescribeModelParams, EmbedParams, SimilarityParams
from tests.models.vision.rig import see

SIZE_MAX_BYTES = 15_000_000
DRAWN = ("a cat", "a red apple", "a pizza", "a guitar", "a heart", "a tree")


@pytest.fixture(scope="module")
def drawings() -> Mapping[str, Image]:
    """What the built-in checkpoint draws of each prompt."""
    pipeline = StableDiffusionPipeline.from_pretrained(HOUSE_FOLDER, local_files_only=True, dtype=torch.float32)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(3) for _ in DRAWN]
    images = pipeline([*DRAWN], width=128, height=128, num_inference_steps=12, guidance_scale=3.0,
                      generator=generators).images  # fmt: skip
    return dict(zip(DRAWN, images, strict=True))


def document(found: JobOutput | JobFailure) -> Any:
    assert isinstance(found, JobOutput), found
    return found.document


def test_it_is_small_and_has_no_code() -> None:
    files = [path for path in EYES_FOLDER.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"config.json", WEIGHTS, PROJECTION, IMAGE_GRAPH, TEXT_GRAPH}
    assert sum(path.stat().st_size for path in files) <= SIZE_MAX_BYTES
    with safe_open(EYES_FOLDER / WEIGHTS, "pt") as weights:
        kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
    assert kinds <= {"F16", "I64"}
    labels = json.loads((EYES_FOLDER / "config.json").read_text(encoding="utf-8"))["label_names"]
    assert labels == [concept.words[0] for concept in load_concepts()]


def test_it_names_drawings_and_compares_them_with_words(drawings: Mapping[str, Image]) -> None:
    jobs: dict[str, Any] = {
        f"name {prompt}": ClassifyParams(model=EYES, image=prompt, top_k=5, multi_label=False) for prompt in DRAWN
    }
    jobs |= {
        f"match {prompt}": SimilarityParams(model=EYES, image=prompt, others=(prompt,), texts=DRAWN) for prompt in DRAWN
    }
    jobs["describe"] = DescribeModelParams(model=EYES)
    jobs["embed"] = EmbedParams(model=EYES, image=DRAWN[0], output="pooled", normalize=True)
    seen = {name: document(found) for name, found in see(Catalog({}), jobs, drawings).items()}
    words = {prompt: prompt.split(" ", 1)[1] for prompt in DRAWN} | {"a red apple": "red apple"}
    named = [words[prompt] in {each["label"] for each in seen[f"name {prompt}"]["labels"]} for prompt in DRAWN]
    assert sum(named) >= len(DRAWN) - 1
    matches = []
    for place, prompt in enumerate(DRAWN):
        found = seen[f"match {prompt}"]
        assert found["similarities"] == pytest.approx([1.0], abs=1e-5) and len(found["text_similarities"]) == len(DRAWN)
        matches.append(max(range(len(DRAWN)), key=found["text_similarities"].__getitem__) == place)
    assert sum(matches) >= len(DRAWN) - 1
    described, embedded = seen["describe"], seen["embed"]
    assert described["reads_texts"] and described["classes"] == len(load_concepts())
    assert described["features"] == embedded["width"] == len(embedded["embedding"]) == 128
