"""Calibration: what is measured at start, within which time, and what happens if memory is too small."""

from __future__ import annotations

from dataclasses import replace

from models.catalog.catalog import ModelSpec
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import Capacity
from tests.models.diffusion.rig import Studio, WatchedDenoiser, params
from tests.models.diffusion.test_capacity import task
from tests.models.diffusion.test_isolation import refuse_more_than


def small(studio: Studio) -> ModelSpec:
    """Its entry in a catalog that says that it draws small images, which are quick."""
    return replace(studio.spec, defaults=replace(studio.spec.defaults, width=64, height=64))


def test_calibration_measures_forwards_whole_and_split(tiny_sd: Studio) -> None:
    capacity, denoiser, spec = Capacity(), WatchedDenoiser(tiny_sd.checkpoint.denoiser), small(tiny_sd)
    calibrate(replace(tiny_sd.checkpoint, denoiser=denoiser, spec=spec), capacity, budget_s=60.0)
    assert denoiser.batches == [2, *[4, 2, 2] * 4, *[8, 2, 2, 2, 2] * 4, *[16, 4, 4, 4, 4] * 4]
    wanted = params(width=spec.defaults.width, height=spec.defaults.height)
    (measured,) = capacity._measured.items()
    expected = task(tiny_sd, wanted)
    assert measured[0] == expected.params.cost_key(expected.catalog), "what jobs look up is what was measured"
    assert measured[1].splits == 9, "the first time of each size does not count"


def test_calibration_ends_in_time(tiny_sd: Studio) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    calibrate(replace(tiny_sd.checkpoint, denoiser=denoiser), Capacity(), budget_s=0.0)
    assert len(denoiser.batches) <= 2


def test_calibration_ends_once_it_is_told_to(tiny_sd: Studio) -> None:
    capacity, denoiser = Capacity(), WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    unmeasured = replace(tiny_sd.checkpoint, denoiser=denoiser)
    calibrate(unmeasured, capacity, budget_s=60.0, is_over=lambda: len(denoiser.batches) >= 4)
    assert denoiser.batches == [2, 4, 2, 2]


def test_calibration_survives_a_memory_that_is_too_small(tiny_sd: Studio) -> None:
    capacity, denoiser = Capacity(), WatchedDenoiser(tiny_sd.checkpoint.denoiser, before=refuse_more_than(4))
    calibrate(replace(tiny_sd.checkpoint, denoiser=denoiser, spec=small(tiny_sd)), capacity, budget_s=60.0)
    (measured,) = capacity._measured.values()
    assert (measured.splits, measured.memory_limit) == (3, None)
