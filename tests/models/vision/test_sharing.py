"""Rows of one model share a forward, whatever they read of it, and none suffers from another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from PIL import Image
from torch import Tensor

from models.catalog.vision import VisionSpec
from models.errors import InputUnavailable, JobFailure
from models.jobs.results import JobOutput
from models.jobs.vision import ClassifyParams, EmbedParams
from models.vision.model import VisionModel
from tests.models.vision.rig import TINY, Folder, catalog_of, see, smooth_noise

IMAGES = {str(seed): smooth_noise(seed) for seed in range(4)}


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of images of each forward."""
    sizes: list[int] = []
    forward = VisionModel.forward

    def noted(model: VisionModel, inputs: Tensor) -> Tensor:
        sizes.append(len(inputs))
        return forward(model, inputs)

    monkeypatch.setattr(VisionModel, "forward", noted)
    return sizes


def test_rows_of_one_model_share_a_forward_and_those_of_another_do_not(weights: Folder, batches: list[int]) -> None:
    catalog = catalog_of(
        VisionSpec(name="one", folder=weights(TINY)), VisionSpec(name="two", folder=weights("test_resnet"))
    )
    jobs = {
        "a": ClassifyParams(image="0", model="one", top_k=1, multi_label=False),
        "b": EmbedParams(image="1", model="one", output="pooled", normalize=True),
        "c": EmbedParams(image="2", model="one", output="features", normalize=True),
        "d": ClassifyParams(image="3", model="two", top_k=1, multi_label=False),
    }
    outcomes = see(catalog, jobs, IMAGES)
    assert all(isinstance(outcome, JobOutput) for outcome in outcomes.values())
    assert sorted(batches) == [1, 3]


def test_a_very_long_image_is_refused_alone(weights: Folder) -> None:
    images = {**IMAGES, "long": Image.new("RGB", (1, 120_000)), "limit": Image.new("RGB", (2, 100))}
    jobs = {
        name: EmbedParams(image=name, model="one", output="pooled", normalize=True) for name in ("0", "long", "limit")
    }
    outcomes = see(catalog_of(VisionSpec(name="one", folder=weights(TINY))), jobs, images)
    refused = outcomes.pop("long")
    assert isinstance(refused, InputUnavailable) and "1 x 120000 pixels" in str(refused)
    assert all(isinstance(outcome, JobOutput) for outcome in outcomes.values())


def test_a_row_whose_output_is_not_finite_fails_alone(weights: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    read = VisionModel.read

    def broken(model: VisionModel, features: Tensor, what: str) -> Tensor:
        outputs = read(model, features, what).clone()
        outputs[0] = torch.nan
        return outputs

    monkeypatch.setattr(VisionModel, "read", broken)
    jobs = {name: EmbedParams(image=name, model="one", output="pooled", normalize=True) for name in ("0", "1")}
    outcomes = see(catalog_of(VisionSpec(name="one", folder=weights(TINY))), jobs, IMAGES)
    assert isinstance(outcomes["0"], JobFailure) and "not finite" in str(outcomes["0"])
    assert isinstance(outcomes["1"], JobOutput)
