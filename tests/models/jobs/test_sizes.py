"""The sizes of images of SDXL: those that it was trained on, and those of aspect ratios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.catalog.catalog import Catalog
from models.jobs.params import ASPECT_RATIOS, DrawParams, DrawRequest
from models.jobs.tickets import complete

CATALOG = Catalog.parse('default = "xl"\n[models.xl]\nfamily = "sdxl"\nfolder = "/nowhere"\n', Path("catalog.toml"))
_PUBLISHED = {
    512: (2048, 1984, 1920, 1856), 576: (1792, 1728, 1664), 640: (1600, 1536), 704: (1472, 1408, 1344),
    768: (1344, 1280), 832: (1216, 1152), 896: (1152, 1088), 960: (1088, 1024), 1024: (1024,),
}  # fmt: skip
BUCKETS = sorted(
    {size for short, longs in _PUBLISHED.items() for long in longs for size in ((short, long), (long, short))}
)
"""The sizes that SDXL was trained on: https://arxiv.org/abs/2307.01952, appendix I."""


def completed(**choices: Any) -> DrawParams:
    return complete(DrawRequest(prompt="a cat", **choices), CATALOG)


@pytest.mark.parametrize(("width", "height"), BUCKETS)
def test_sizes_of_the_training_are_accepted(width: int, height: int) -> None:
    params = completed(width=width, height=height)
    assert (params.width, params.height) == (width, height)


def test_the_usual_wide_size_is_one_of_them() -> None:
    assert (1344, 768) in BUCKETS and len(BUCKETS) == len(set(BUCKETS)) == 41


@pytest.mark.parametrize("name", ASPECT_RATIOS)
def test_an_aspect_ratio_keeps_the_area(name: str) -> None:
    params, (across, down) = completed(aspect_ratio=name), ASPECT_RATIOS[name]
    assert params.width * params.height == pytest.approx(1024 * 1024, rel=0.01)
    assert params.width / params.height == pytest.approx(across / down, rel=0.01)
    assert params.width % 8 == params.height % 8 == 0
