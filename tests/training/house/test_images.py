"""The training images, on icons that are made here."""

from __future__ import annotations

import random

import numpy as np
import pytest

from training.house.images import COLOURS, GROUNDS, SIZE_PX, PixelArray, compose, recolour

RED, BLUE = (0.85, 0.1, 0.1), (0.1, 0.2, 0.8)
BODY, WINDOW = (slice(20, 108), slice(20, 108)), (slice(50, 70), slice(50, 70))
EXPECTED = {"green": (1, (0, 2)), "blue": (2, (0, 1)), "red": (0, (1, 2))}


@pytest.fixture
def car() -> PixelArray:
    """A red square with a blue window on nothing."""
    image = np.zeros((SIZE_PX, SIZE_PX, 4), dtype=np.float32)
    image[BODY] = (*RED, 1)
    image[WINDOW] = (*BLUE, 1)
    return image


@pytest.mark.parametrize("colour", COLOURS)
def test_the_main_colour_changes_and_the_rest_stays(car: PixelArray, colour: str) -> None:
    before = car.copy()
    changed = recolour(car, colour)
    assert np.array_equal(car, before)
    assert np.array_equal(changed[WINDOW], car[WINDOW])
    assert np.array_equal(changed[..., 3], car[..., 3])
    assert np.array_equal(changed[:20], car[:20])
    body = changed[25, 25, :3]
    assert (np.abs(body - RED).max() > 0.1) == (colour != "red")
    assert changed.min() >= 0 and changed.max() <= 1


@pytest.mark.parametrize(("colour", "channels"), EXPECTED.items())
def test_the_new_colour_is_the_one_asked_for(
    car: PixelArray, colour: str, channels: tuple[int, tuple[int, int]]
) -> None:
    high, low = channels
    body = recolour(car, colour)[25, 25]
    assert all(body[high] > body[other] + 0.2 for other in low)


def test_an_icon_without_colour_is_coloured_where_it_is_light(car: PixelArray) -> None:
    car[BODY] = (0.9, 0.9, 0.9, 1)
    car[WINDOW] = (0.1, 0.1, 0.1, 1)
    changed = recolour(car, "green")
    assert changed[25, 25, 1] > changed[25, 25, 0] + 0.2
    assert np.array_equal(changed[WINDOW], car[WINDOW])


def test_an_image_is_laid_on_its_ground(car: PixelArray) -> None:
    white = compose(car, random.Random(0), None)
    assert white.shape == (SIZE_PX, SIZE_PX, 3)
    assert (white[0, 0] == 1).all() and np.allclose(white[64, 30], RED, atol=1e-6)
    for name, rgb in GROUNDS.items():
        laid = compose(car, random.Random(1), name)
        assert np.abs(laid[0, 0] * 255 - np.clip(rgb, 0, 255)).max() < 11, name
        assert laid.min() >= 0 and laid.max() <= 1
