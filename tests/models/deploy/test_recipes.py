"""The images that are drawn for recording cover the sizes that were asked for."""

from __future__ import annotations

import pytest

from models.catalog.catalog import HOUSE, Catalog, ModelSpec
from models.catalog.families import SDXL_REFINER
from models.deploy.recipes import ImpossibleShape, Recipe, recipes_of
from models.errors import InvalidTicket

CATALOG = Catalog({})
DEFAULT = (128, 128)


def recipes(*shapes: tuple[int, int], steps: int | None = None) -> list[Recipe]:
    return recipes_of(CATALOG, CATALOG[HOUSE], {"prediction_type": "epsilon"}, steps, shapes)


def sizes(found: list[Recipe], kind: str = "txt2img") -> set[tuple[int, int]]:
    return {(each.params.width, each.params.height) for each in found if each.kind == kind}


def test_several_sizes_are_chosen() -> None:
    assert len(sizes(recipes())) >= 4 and len(sizes(recipes(), "img2img")) >= 3


def test_the_sizes_that_are_asked_for_take_the_place_of_the_chosen_ones() -> None:
    found = recipes((128, 96), (64, 128), (128, 96))
    assert sizes(found) == sizes(found, "img2img") == {DEFAULT, (128, 96), (64, 128)}
    assert len([each for each in found if each.title == "128x96"]) == 1
    assert all(not each.is_judged for each in found if (each.params.width, each.params.height) != DEFAULT)


def test_the_default_alone_fixes_the_size() -> None:
    assert sizes(recipes(DEFAULT)) == sizes(recipes(DEFAULT), "img2img") == {DEFAULT}


def test_a_model_that_only_changes_images_is_asked_for_sizes_too() -> None:
    spec = ModelSpec(name="refiner", family=SDXL_REFINER, folder=CATALOG[HOUSE].folder)
    found = recipes_of(Catalog({"refiner": spec}), spec, {"prediction_type": "epsilon"}, None, [(512, 768)])
    assert (512, 768) in sizes(found, "img2img") and not sizes(found)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((100, 128), r"house does not draw 100x128: width: must be a multiple of 8 from 64 to \d+ for house"),
        ((128, 99999), r"house does not draw 128x99999: height: must be .*from 64 to"),
        ((0, 128), "house does not draw 0x128: width: must be"),
        ((256, 256), "house draws 256x256 as 128x128 and enlarges it: name that size"),
    ],
)
def test_sizes_that_the_model_does_not_draw_are_refused(shape: tuple[int, int], told: str) -> None:
    with pytest.raises(ImpossibleShape, match=told):
        recipes((64, 64), shape)


def test_too_many_steps_are_refused() -> None:
    with pytest.raises(InvalidTicket, match="num_inference_steps"):
        recipes(steps=99999)
