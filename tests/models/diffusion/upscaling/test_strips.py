"""An image resized in strips, or put together from bands, is the image resized at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.Image import Resampling

from models.diffusion.upscaling.bands import Bands
from models.diffusion.upscaling.pixels import to_bytes
from models.diffusion.upscaling.strips import STRIP_PX, Rescaling, Strip
from models.diffusion.upscaling.upscaling import Resizing
from tests.models.diffusion.upscaling.tiny_upscalers import noise

SIDES = st.integers(1, 60)
STRIP = st.integers(1, 5000)


def worst(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.array(one).astype(int) - np.array(other)).max())


def resized_in_strips(image: Image.Image, size: tuple[int, int], strip_px: int) -> Image.Image:
    rescaling, result = Rescaling(image.size, size), Image.new("RGB", size)
    for strip in rescaling.strips(strip_px):
        result.paste(rescaling.resize(image, strip), (0, strip.top))
    return result


@settings(deadline=None)
@given(SIDES, SIDES, st.floats(1, 8), STRIP)
def test_strips_of_an_enlarged_image_meet_without_a_seam(width: int, height: int, scale: float, strip_px: int) -> None:
    image, size = noise(width, height), (round(width * scale), round(height * scale))
    assert worst(resized_in_strips(image, size, strip_px), image.resize(size, Resampling.LANCZOS)) <= 1


@settings(deadline=None)
@given(SIDES, SIDES, st.sampled_from([2, 3, 4, 8]), STRIP)
def test_whole_factors_give_the_very_same_pixels(width: int, height: int, scale: int, strip_px: int) -> None:
    image, size = noise(width, height), (width * scale, height * scale)
    assert worst(resized_in_strips(image, size, strip_px), image.resize(size, Resampling.LANCZOS)) <= 1
    assert worst(resized_in_strips(image, size, 1 << 30), image.resize(size, Resampling.LANCZOS)) == 0


@settings(deadline=None)
@given(SIDES, SIDES, st.floats(0.2, 6), STRIP, st.integers(1, 30))
def test_bands_are_the_image_resized_in_strips(width: int, height: int, scale: float, strip_px: int, rows: int) -> None:
    image = noise(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    bands = Bands(image.size, size, strip_px)
    pixels = to_bytes(image)
    for top in range(0, height, rows):
        bands.add(pixels[:, top : top + rows])
    whole = image if size == image.size else resized_in_strips(image, size, strip_px)
    assert worst(bands.image, whole) <= 1


@settings(deadline=None)
@given(SIDES, SIDES, STRIP)
def test_strips_cover_every_row_once(width: int, height: int, strip_px: int) -> None:
    strips = Rescaling((1, 1), (width, height)).strips(strip_px)
    assert [row for strip in strips for row in range(strip.top, strip.bottom)] == list(range(height))


def test_a_strip_is_bounded_and_needs_few_rows() -> None:
    rescaling = Rescaling((2000, 2000), (8000, 8000))
    for strip in rescaling.strips(STRIP_PX):
        assert (strip.bottom - strip.top) * 8000 <= STRIP_PX
        needed = rescaling.rows_needed(strip)
        assert needed.bottom - needed.top <= (strip.bottom - strip.top) / 4 + 10
    assert rescaling.rows_needed(Strip(0, 8000)) == Strip(0, 2000)


@pytest.mark.parametrize("name", ["Lanczos", "Nearest"])
def test_resizing_takes_a_step_for_each_strip(name: str) -> None:
    image = noise(40, 30)
    work = Resizing(image, 4, name, strip_px=1000)
    assert work.steps == (20 if name == "Lanczos" else 1)
    while not work.is_done:
        work.take_step(work.forward([work])[0])
    resampling = {"Lanczos": Resampling.LANCZOS, "Nearest": Resampling.NEAREST}[name]
    assert worst(work.image(), image.resize((160, 120), resampling)) <= 1


def test_resizings_share_no_forward_and_one_cost_key() -> None:
    one, other = (Resizing(noise(8, 8), 2, "Lanczos") for _ in range(2))
    assert one.group_key != other.group_key
    assert one.cost_key == other.cost_key
