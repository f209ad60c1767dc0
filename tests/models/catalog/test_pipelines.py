"""The family of a diffusers pipeline, told by its ``model_index.json``."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest

from models.catalog import pipelines
from models.catalog.families import FAMILIES, SDXL, SDXL_REFINER
from models.catalog.pipelines import denoiser_problem, family_of_pipeline, index_in
from models.errors import ModelUnavailable


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_told_by_a_class_of_diffusers(family: str) -> None:
    refiner = {"requires_aesthetics_score": True}
    indexes = ({"_class_name": name, **more} for name in pipelines._CLASSES for more in ({}, refiner))
    assert family in {family_of_pipeline(index) for index in indexes}
    assert all(hasattr(diffusers, name) for name in pipelines._CLASSES)


def test_the_refiner_is_told_by_its_values() -> None:
    name = {"_class_name": "StableDiffusionXLImg2ImgPipeline"}
    assert family_of_pipeline({**name, "text_encoder": ["transformers", "CLIPTextModel"]}) == SDXL
    assert family_of_pipeline({**name, "text_encoder": [None, None]}) == SDXL_REFINER


@pytest.mark.parametrize("text", ["", "[]", "{", '{"_class_name": 3}', '{"_class_name": "WanPipeline"}', "[" * 100_000])
def test_an_index_that_tells_no_family(tmp_path: Path, text: str) -> None:
    (tmp_path / "model_index.json").write_text(text)
    with pytest.raises(ModelUnavailable, match=r"its model_index\.json is"):
        family_of_pipeline(index_in(tmp_path))


@pytest.mark.parametrize("part", [3, [], ["diffusers"], [None, None], ["diffusers", 3]])
def test_a_denoiser_that_is_none(part: object) -> None:
    assert denoiser_problem({"unet": part}, SDXL) == "its denoiser is missing; no family has this denoiser"
