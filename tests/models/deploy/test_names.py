"""The model of a deployment is found by its name, unless its packages could be mistaken for another model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.vision import VisionModels, VisionSpec
from models.deploy.names import NoModel, find_model
from models.errors import ProblemCode
from models.jobs.params import LoraUse

FOLDER = Path("weights")
INK = LoraUse(name="ink", weight=0.8)


def drawing(name: str, *aliases: str) -> ModelSpec:
    return ModelSpec(name=name, family="stable-diffusion", folder=FOLDER, aliases=aliases)


def seeing(name: str, *aliases: str) -> VisionSpec:
    return VisionSpec(name=name, repository="timm/resnet18", aliases=aliases)


CATALOG = Catalog(
    {each.name: each for each in (drawing("deep"), drawing("twin"), drawing("big", "brother"))},
    extras={"upscalers": {name: AuxiliaryModel(name=name, path=FOLDER / f"{name}.pth") for name in ("big", "large")}},
    vision=VisionModels({
        each.name: each for each in (seeing("twin"), seeing("eye", "deep", "large"), seeing("deep+ink@0.8"))
    }),
)  # fmt: skip


@pytest.mark.parametrize(("name", "found"), [("deep", ModelSpec), ("eye", VisionSpec), ("large", AuxiliaryModel)])
def test_a_name_comes_before_the_alias_of_another_model(name: str, found: type) -> None:
    model = find_model(name, CATALOG)
    assert isinstance(model, found) and model.name == name


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("twin", "'twin' is the name of a model that draws and of a vision model, whose packages would share a folder"),
        ("big", "'big' is the name of a model that draws and of an upscaler"),
        ("brother", "'big' is the name of a model that draws and of an upscaler"),
        ("DEEP", "'DEEP' may be a model that draws called 'deep' or a vision model called 'eye'"),
    ],
)
def test_a_name_that_two_models_have_is_refused_with_both(name: str, told: str) -> None:
    with pytest.raises(NoModel) as caught:
        find_model(name, CATALOG)
    assert str(caught.value).startswith(told) and caught.value.problem.code is ProblemCode.UNAVAILABLE


def test_a_model_with_loras_has_a_name_of_its_own_too() -> None:
    assert find_model("deep", CATALOG, [LoraUse(name="ink", weight=0.7)]).name == "deep"
    with pytest.raises(NoModel, match="is the name of the model with these LoRAs and of a vision model"):
        find_model("deep", CATALOG, [INK])


def test_what_is_not_there_is_told_with_what_is_like_it() -> None:
    with pytest.raises(NoModel, match=r"there is no model 'depp' .did you mean 'deep'") as caught:
        find_model("depp", CATALOG)
    assert caught.value.problem.code is ProblemCode.UNKNOWN_NAME
