"""Tiles cover an image evenly, and their weights add up."""

from __future__ import annotations

import pytest
import torch

from models.diffusion.upscaling.tiles import Cut

LENGTHS = [64, 65, 97, 100, 112, 113, 160, 161, 700, 1023]


@pytest.mark.parametrize("length", LENGTHS)
def test_tiles_reach_from_border_to_border_and_overlap_enough(length: int):
    cut = Cut(length, 64, 16)
    assert cut.starts[0] == 0
    assert cut.starts[-1] + 64 == length
    assert all(after - before <= 64 - 16 for before, after in zip(cut.starts, cut.starts[1:], strict=False))
    fewer = len(cut.starts) - 1
    assert fewer * 64 - (fewer - 1) * 16 < length  # one tile less would not do


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_weights_of_each_pixel_add_up_to_one_and_borders_inside_do_not_count(length: int, scale: int):
    cut = Cut(length, 64, 16)
    total = torch.zeros(length * scale)
    for start, weights in zip(cut.starts, cut.weights(scale), strict=True):
        total[start * scale : (start + 64) * scale] += weights
        assert (weights[: 4 * scale].max() == 0) == (start > 0)
        assert (weights[-4 * scale :].max() == 0) == (start + 64 < length)
    assert torch.allclose(total, torch.ones(length * scale))


def test_an_image_of_one_tile_needs_no_overlap():
    assert Cut(5, 5, 16).starts == (0,)
    assert Cut(5, 5, 16).weights(2).tolist() == [[1.0] * 10]


@pytest.mark.parametrize("overlap_px", [0, 64])
def test_tiles_that_could_not_be_faded_are_refused(overlap_px: int):
    with pytest.raises(ValueError, match="cannot overlap"):
        Cut(100, 64, overlap_px)
