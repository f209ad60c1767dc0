"""Texts beside images: any model with a projection reads them, and says so if its text side is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity

from models.catalog.vision import PROJECTION, VisionSpec
from models.errors import JobFailure, ModelUnavailable
from models.jobs.results import JobOutput
from models.jobs.vision import SimilarityParams
from models.vision.texts import load_text_reader
from tests.models.vision.rig import TINY, Folder, catalog_of, plain, see, smooth_noise

WIDTH = 16


@pytest.fixture
def spec(weights: Folder, tmp_path: Path) -> VisionSpec:
    """A model with a projection of random numbers."""
    folder = shutil.copytree(weights(TINY), tmp_path / "reading")
    torch.manual_seed(0)
    save_file({"image": torch.randn(WIDTH, 256), "text": torch.randn(WIDTH, 384)}, folder / PROJECTION)
    return VisionSpec(name="reading", folder=folder)


def compared(spec: VisionSpec, *texts: str) -> JobOutput | JobFailure:
    image = smooth_noise(1)
    job = SimilarityParams(model="reading", image="a", others=("a", "b"), texts=texts)
    return see(catalog_of(spec), {"job": job}, {"a": image, "b": smooth_noise(2)})["job"]


def test_texts_are_compared_in_the_space_of_the_projection(spec: VisionSpec) -> None:
    found = compared(spec, "a cat", "A Cat", "a dog on a red background")
    assert isinstance(found, JobOutput) and isinstance(found.document, dict)
    likeness: list[float] = found.document["text_similarities"]  # type: ignore[assignment]
    assert likeness[0] == pytest.approx(likeness[1], abs=1e-5) and abs(likeness[0] - likeness[2]) > 1e-4
    assert spec.folder is not None and spec.projection is not None
    model, transform = plain(spec.folder)
    matrices = load_file(spec.projection)
    with torch.inference_mode():
        pooled = model.forward_head(model.forward_features(transform(smooth_noise(1))[None]), pre_logits=True)
        reader = load_text_reader(spec, spec.projection)
        text = reader.pooled(["a cat"]) @ matrices["text"].T
    assert likeness[0] == pytest.approx(cosine_similarity(pooled @ matrices["image"].T, text).item(), abs=1e-5)


def test_the_company_of_a_text_does_not_change_what_is_read(spec: VisionSpec) -> None:
    assert spec.projection is not None
    reader = load_text_reader(spec, spec.projection)
    long = "x" * 500
    torch.testing.assert_close(reader.read(["a cat", long])[0], reader.read(["a cat"])[0], atol=1e-5, rtol=0)
    assert reader.read([long, "猫"]).isfinite().all()


def test_a_damaged_text_side_fails_the_job_that_needs_it(spec: VisionSpec) -> None:
    assert spec.folder is not None
    save_file({"image": torch.randn(WIDTH, 256)}, spec.folder / PROJECTION)
    assert isinstance(compared(spec), JobOutput)
    failed = compared(spec, "a cat")
    assert isinstance(failed, ModelUnavailable) and "text side of 'reading' cannot be loaded" in str(failed)
