"""How many rows are drawn at once: by what forwards were measured to take, and by what memory holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.catalog import Catalog
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import FORGOTTEN_AFTER, ROWS_MAX, Capacity
from models.diffusion.row import Row, expected_sort
from models.diffusion.work import Task
from models.params import TXT2IMG, UPSCALE, Control, DrawParams, UpscaleParams
from tests.models.diffusion.rig import Studio, WatchedDenoiser, join, params, pictures, run
from tests.models.diffusion.test_isolation import refuse_more_than


def task(studio: Studio, wanted: DrawParams) -> Task:
    return Task(kind=TXT2IMG, params=wanted, catalog=Catalog({"tiny": studio.spec}), pictures={})


def rows(studio: Studio, count: int, wanted: DrawParams | None = None) -> list[Row]:
    """Rows that are not prepared yet."""
    return [Row(str(number), task(studio, wanted or params()), iter(())) for number in range(count)]  # type: ignore[arg-type]


def admitted(capacity: Capacity, studio: Studio) -> int:
    """How many rows of one sort are drawn at once."""
    beside = rows(studio, 0)
    for row in rows(studio, 100):
        if capacity.admits(row, beside):
            beside.append(row)
    return len(beside)


@pytest.mark.parametrize(
    ("fixed_s", "each_s", "expected"),
    [(0.0, 0.1, 2), (0.1, 0.1, 9), (0.05, 0.05, 9), (0.2, 0.1, 19), (0.3, 0.1, 28), (1.0, 0.01, ROWS_MAX)],
)
def test_rows_are_added_while_a_batch_is_worth_doubling(
    tiny_sd: Studio, fixed_s: float, each_s: float, expected: int
) -> None:
    capacity = Capacity()
    for inputs in (2, 4, 8, 16):
        for noise in (1.0, 1.3, 2.0):
            capacity.note(expected_sort(rows(tiny_sd, 1)[0].task), inputs, noise * (fixed_s + each_s * inputs))
    assert admitted(capacity, tiny_sd) == expected


def test_a_slow_moment_does_not_count_for_ever(tiny_sd: Studio) -> None:
    capacity, sort = Capacity(), expected_sort(rows(tiny_sd, 1)[0].task)
    for inputs, seconds in ((2, 0.15), (4, 0.2), (8, 1.0), (16, 2.0)):
        capacity.note(sort, inputs, seconds)
    assert admitted(capacity, tiny_sd) == 2
    for _ in range(FORGOTTEN_AFTER):
        capacity.note(sort, 2, 0.15)
        capacity.note(sort, 4, 0.2)
    assert admitted(capacity, tiny_sd) >= 9


def test_before_anything_is_known_two_rows_are_drawn_at_once(tiny_sd: Studio) -> None:
    assert admitted(Capacity(), tiny_sd) == 2


def test_a_number_that_was_asked_for_is_kept(tiny_sd: Studio) -> None:
    assert admitted(Capacity(5), tiny_sd) == 5


def test_each_sort_has_room_of_its_own(tiny_sd: Studio) -> None:
    capacity = Capacity()
    full = rows(tiny_sd, 2)
    (another,) = rows(tiny_sd, 1)
    (larger,) = rows(tiny_sd, 1, params(width=96))
    (steered,) = rows(tiny_sd, 1, params(controls=(Control(model="lines"),)))
    enlarged = Row("up", replace(task(tiny_sd, params()), kind=UPSCALE, params=UpscaleParams(
        image="input:x", scale=2, upscaler="Lanczos")), iter(()))  # type: ignore[arg-type]  # fmt: skip
    assert [capacity.admits(row, full) for row in (another, larger, steered, enlarged)] == [False, True, True, True]


def test_calibration_measures_forwards_of_every_size(tiny_sd: Studio) -> None:
    capacity, denoiser = Capacity(), WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    calibrate(replace(tiny_sd.checkpoint, denoiser=denoiser), capacity, budget_s=60.0)
    assert {size: denoiser.batches.count(size) for size in (2, 4, 8, 16)} == {2: 6, 4: 5, 8: 5, 16: 5}
    spec = tiny_sd.spec
    wanted = params(width=spec.defaults.width, height=spec.defaults.height)
    (measured,) = capacity._measured.items()
    assert measured[0] == expected_sort(task(tiny_sd, wanted)), "what jobs look up is what was measured"
    assert measured[1].seconds.keys() == {2, 4, 8, 16}


def test_calibration_ends_in_time(tiny_sd: Studio) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    calibrate(replace(tiny_sd.checkpoint, denoiser=denoiser), Capacity(), budget_s=0.0)
    assert len(denoiser.batches) <= 2


def test_calibration_survives_a_memory_that_is_too_small(tiny_sd: Studio) -> None:
    capacity, denoiser = Capacity(), WatchedDenoiser(tiny_sd.checkpoint.denoiser, before=refuse_more_than(4))
    calibrate(replace(tiny_sd.checkpoint, denoiser=denoiser), capacity)
    (measured,) = capacity._measured.values()
    assert measured.seconds.keys() == {2, 4}


def test_what_did_not_fit_is_not_tried_again(tiny_sd: Studio) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser, before=refuse_more_than(4))
    engine = tiny_sd.engine(denoiser)
    wanted = {str(seed): params(seed=seed, num_inference_steps=4) for seed in range(4)}
    for row_id, each in wanted.items():
        join(engine, row_id, each, tiny_sd.spec)
    drawn = pictures(run(engine))
    assert all(tiny_sd.off_by(each, drawn[row_id]) <= 1 for row_id, each in wanted.items())
    assert denoiser.batches[0] == 8
    assert max(denoiser.batches[1:]) == 4
