"""Scenes of icons that are made here: what they show, that seeds repeat them, and what captions say of them."""

from __future__ import annotations

import random

import pytest
import torch

from training.eyes.captions import Captions
from training.eyes.renderings import COLOURS, NONE, SIZE_PX, Renderings
from training.eyes.scenes import GROUNDS, Painter, Scenes

RED = COLOURS.index("red")


@pytest.fixture(scope="module")
def renderings() -> Renderings:
    """A black disc and a red square, in the first two sets."""
    pixels = torch.zeros(2, 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)
    places = torch.arange(SIZE_PX) - SIZE_PX / 2
    disc = places[:, None] ** 2 + places[None] ** 2 < 900
    pixels[0, 3][disc] = 255
    pixels[1, :, 30:66, 30:66] = torch.tensor([230, 20, 20, 255], dtype=torch.uint8)[:, None, None]
    return Renderings(pixels, torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([NONE, RED]))


def painted(renderings: Renderings, seed: int, count: int = 200) -> Scenes:
    rows = torch.arange(count) % 2
    return Painter(renderings, 32).paint(rows, torch.Generator().manual_seed(seed))


def test_a_seed_repeats_a_batch_and_another_does_not(renderings: Renderings) -> None:
    first, again, other = (painted(renderings, seed) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images) and not torch.equal(first.images, other.images)
    assert first.images.shape == (200, 3, 32, 32)
    assert first.images.min() >= 0 and first.images.max() <= 1


def test_things_and_grounds_are_where_they_are_said_to_be(renderings: Renderings) -> None:
    scenes = painted(renderings, 3)
    middle, corner = scenes.images[:, :, 16, 16], scenes.images[:, :, 1, 1]
    red = (scenes.colours == RED).nonzero()[:, 0]
    assert torch.equal(scenes.concepts, torch.arange(200) % 2)
    assert (middle[red, 0] > middle[red, 1]).float().mean() > 0.9  # the others are covered
    blue = (scenes.grounds == GROUNDS.index("blue")).nonzero()[:, 0]
    assert len(blue) and (corner[blue, 2] > corner[blue, 0]).all()
    assert 0.2 < (scenes.grounds == NONE).float().mean() < 0.9


def test_captions_say_nothing_wrong_and_fit_what_they_say() -> None:
    said = torch.tensor([[0, NONE, NONE], [1, NONE, NONE], [1, RED, NONE], [1, NONE, 2], [0, NONE, 2], [0, NONE, 3]])
    captions = Captions(torch.zeros(6, 384), said)
    scenes = Scenes(torch.zeros(3, 3, 8, 8), torch.tensor([1, 1, 0]), torch.tensor([RED, NONE, NONE]),
                    torch.tensor([2, NONE, 2]))  # fmt: skip
    every = torch.arange(6)
    fits = captions.fits(scenes, every)
    assert fits.tolist() == [
        [False, True, True, True, False, False], [False, True, False, False, False, False],
        [True, False, False, False, True, False],
    ]  # fmt: skip
    drawn = torch.stack([captions.draw(scenes, random.Random(seed)) for seed in range(60)])
    assert all(fits[place, row] for place in range(3) for row in drawn[:, place])
    assert set(drawn[:, 0].tolist()) == {1, 2, 3}
