"""How many rows are drawn at once: by what forwards were measured to take, and by what memory holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import count, cycle, repeat

import pytest

from models.catalog.catalog import Catalog
from models.catalog.families import TXT2IMG
from models.diffusion.batching import divided
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import NEAR, ROWS_MAX, Capacity, Forward
from models.diffusion.row import Row, expected_sort
from models.diffusion.work import Task
from models.jobs.params import UPSCALE, Control, DrawParams, UpscaleParams
from tests.models.diffusion.rig import Studio, WatchedDenoiser, images, join, params, run
from tests.models.diffusion.test_isolation import refuse_more_than


def task(studio: Studio, wanted: DrawParams) -> Task:
    return Task(kind=TXT2IMG, params=wanted, catalog=Catalog({"tiny": studio.spec}), images={})


def rows(studio: Studio, how_many: int, wanted: DrawParams | None = None) -> list[Row]:
    """Rows that are not prepared yet."""
    return [Row(str(number), task(studio, wanted or params()), iter(())) for number in range(how_many)]  # type: ignore[arg-type]


def admitted(capacity: Capacity, studio: Studio) -> int:
    """How many rows of one sort are drawn at once."""
    beside = rows(studio, 0)
    for row in rows(studio, 100):
        if capacity.admits(row, beside):
            beside.append(row)
    return len(beside)


class Model:
    """Stands for a model whose forward of n inputs takes ``seconds(n)``, times what ``noise`` yields.

    By turns it takes so many times as long as ``efforts`` say, as rows do that reuse features or that have ControlNets.
    """

    def __init__(
        self, seconds: Callable[[int], float], noise: Iterator[float] | None = None, efforts: Sequence[float] = (1.0,)
    ) -> None:
        self.seconds, self.noise, self.efforts = seconds, noise or repeat(1.0), cycle(efforts)
        self.divided = 0

    def draw(self, capacity: Capacity, sort: Hashable, forwards: int, waiting: int = 100) -> None:
        """Forwards of as many rows of two inputs as ``capacity`` admits of those that are ``waiting``."""
        for _ in range(forwards):
            rows = range(min(waiting, capacity.inputs_of(sort) // 2, ROWS_MAX))
            forward = Forward(sort, len(rows), 2 * len(rows), effort := next(self.efforts))
            parts = divided(rows, capacity.parts(forward))
            self.divided += len(parts) > 1
            seconds = sum(self.seconds(2 * len(part)) for part in parts) * next(self.noise) * effort
            capacity.note(forward, seconds, len(parts))


def line(fixed_s: float, each_s: float) -> Callable[[int], float]:
    return lambda inputs: fixed_s + each_s * inputs


def sort_of(studio: Studio) -> Hashable:
    return expected_sort(task(studio, params()))


@pytest.mark.parametrize(
    ("fixed_s", "each_s", "expected"),
    [(0.0, 0.1, 2), (0.1, 0.1, 7), (0.05, 0.05, 7), (0.2, 0.1, 15), (0.3, 0.1, 23), (1.0, 0.01, ROWS_MAX)],
)
def test_rows_are_added_while_a_batch_is_worth_doubling(
    tiny_sd: Studio, fixed_s: float, each_s: float, expected: int
) -> None:
    capacity, model = Capacity(), Model(line(fixed_s, each_s))
    model.draw(capacity, sort_of(tiny_sd), 1000)
    assert admitted(capacity, tiny_sd) == expected
    assert 1 < model.divided < 60, "measuring must not cost much"


def test_a_noisy_device_leaves_the_number_where_it_belongs(tiny_sd: Studio) -> None:
    """Where 15 rows are worth it: each forward is off by up to 3 %, every tenth takes up to thrice as long."""
    lots = random.Random(7)
    noise = (lots.uniform(0.97, 1.03) * (lots.uniform(1, 3) if lots.random() < 0.1 else 1.0) for _ in count())
    capacity, model, sort = Capacity(), Model(line(0.2, 0.1), noise), sort_of(tiny_sd)
    model.draw(capacity, sort, 200)
    for waiting in [100, 1, 100, 2, 100] * 10:  # by turns all the work there is, and hardly any
        model.draw(capacity, sort, 200, waiting)
        assert 6 <= admitted(capacity, tiny_sd) <= 31


def test_a_slow_moment_does_not_count_for_ever(tiny_sd: Studio) -> None:
    """A moment in which each forward is slow by chance, so that nothing seems to be gained by batches."""
    capacity, sort = Capacity(), sort_of(tiny_sd)
    Model(line(0.2, 0.1)).draw(capacity, sort, 200)
    Model(line(0.0, 1.0)).draw(capacity, sort, 500)
    assert admitted(capacity, tiny_sd) == 2
    Model(line(0.2, 0.1)).draw(capacity, sort, 500)
    assert admitted(capacity, tiny_sd) == 15


def test_a_device_that_is_idle_with_few_inputs_and_full_with_more_is_met_without_swinging(tiny_sd: Studio) -> None:
    """As GPUs nearly are: up to twelve inputs cost what one does, and no batch of more gains anything."""
    capacity, model, sort = Capacity(), Model(lambda inputs: max(1.0, inputs / 12)), sort_of(tiny_sd)
    model.draw(capacity, sort, 200)
    found = set()
    for _ in range(1000):
        model.draw(capacity, sort, 1)
        found.add(capacity.inputs_of(sort))
    assert 12 < min(found) <= max(found) < 1.3 * min(found) < 64
    assert model.divided < 60


def test_one_measurement_moves_the_number_little(tiny_sd: Studio) -> None:
    capacity, model, sort = Capacity(), Model(line(0.2, 0.1)), sort_of(tiny_sd)
    model.draw(capacity, sort, 500)
    known = capacity.inputs_of(sort)
    for whole_s, divided_s in ((1.0, 1000.0), (1000.0, 1.0)):
        forward = Forward(sort, known // 2, known)
        capacity.note(forward, whole_s, 1)
        capacity.note(forward, divided_s, 4)
        assert abs(capacity.inputs_of(sort) - known) <= 0.2 * known + 1


def test_a_number_that_nothing_bounded_can_fall_again(tiny_sd: Studio) -> None:
    capacity, sort = Capacity(), sort_of(tiny_sd)
    Model(line(1.0, 0.0)).draw(capacity, sort, 3000)
    assert admitted(capacity, tiny_sd) == ROWS_MAX
    Model(line(0.0, 1.0)).draw(capacity, sort, 1000)
    assert admitted(capacity, tiny_sd) == 2


def test_only_forwards_of_the_same_size_are_compared(tiny_sd: Studio) -> None:
    capacity, model, sort = Capacity(), Model(line(0.2, 0.1)), sort_of(tiny_sd)
    model.draw(capacity, sort, 500)
    model.divided = 0
    sizes = range(15, 15 - NEAR - 1, -1)
    assert 2 * sizes[-1] >= 15, "all large enough to be divided"
    for waiting in [*sizes] * 50:
        model.draw(capacity, sort, 1, waiting)
    assert model.divided == 0


@pytest.mark.parametrize("efforts", [(1.0, 0.4), (1.0, 0.4, 0.4), (1.0, 0.4, 0.4, 0.4, 0.4)])
def test_only_forwards_with_the_same_to_do_are_compared(tiny_sd: Studio, efforts: Sequence[float]) -> None:
    """As there are dear and cheap ones by turns, of rows of one sort."""
    capacity, model, sort = Capacity(), Model(line(0.2, 0.1), efforts=efforts), sort_of(tiny_sd)
    model.draw(capacity, sort, 1000)
    assert admitted(capacity, tiny_sd) == 15


def test_it_is_compared_with_the_latest_of_them(tiny_sd: Studio) -> None:
    capacity, model, sort = Capacity(), Model(line(0.2, 0.1)), sort_of(tiny_sd)
    model.draw(capacity, sort, 500)
    forward = Forward(sort, 15, known := capacity.inputs_of(sort))
    for seconds, parts in ((1000.0, 1), (1.0, 1), (10.0, 4)):
        capacity.note(forward, seconds, parts)
    assert capacity.inputs_of(sort) > known


def test_with_little_to_do_nothing_is_divided_and_what_is_known_is_kept(tiny_sd: Studio) -> None:
    capacity, model, sort = Capacity(), Model(line(0.2, 0.1)), sort_of(tiny_sd)
    model.draw(capacity, sort, 500)
    known, model.divided = admitted(capacity, tiny_sd), 0
    model.draw(capacity, sort, 5000, waiting=2)
    assert (model.divided, admitted(capacity, tiny_sd)) == (0, known)


def test_a_fixed_number_of_rows_needs_no_measuring(tiny_sd: Studio) -> None:
    model = Model(line(0.2, 0.1))
    model.draw(Capacity(5), sort_of(tiny_sd), 500)
    assert model.divided == 0


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


def test_calibration_measures_forwards_whole_and_divided(tiny_sd: Studio) -> None:
    capacity, denoiser = Capacity(), WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    calibrate(replace(tiny_sd.checkpoint, denoiser=denoiser), capacity, budget_s=60.0)
    assert denoiser.batches == [2, *[4, 2, 2] * 3, *[8, 2, 2, 2, 2] * 3, *[16, 4, 4, 4, 4] * 3]
    spec = tiny_sd.spec
    wanted = params(width=spec.defaults.width, height=spec.defaults.height)
    (measured,) = capacity._measured.items()
    assert measured[0] == expected_sort(task(tiny_sd, wanted)), "what jobs look up is what was measured"
    assert measured[1].times_divided == 9


def test_calibration_ends_in_time(tiny_sd: Studio) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    calibrate(replace(tiny_sd.checkpoint, denoiser=denoiser), Capacity(), budget_s=0.0)
    assert len(denoiser.batches) <= 2


def test_calibration_survives_a_memory_that_is_too_small(tiny_sd: Studio) -> None:
    capacity, denoiser = Capacity(), WatchedDenoiser(tiny_sd.checkpoint.denoiser, before=refuse_more_than(4))
    calibrate(replace(tiny_sd.checkpoint, denoiser=denoiser), capacity)
    (measured,) = capacity._measured.values()
    assert (measured.times_divided, measured.memory_limit) == (3, None)


def test_what_did_not_fit_is_not_tried_again(tiny_sd: Studio) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser, before=refuse_more_than(4))
    engine = tiny_sd.engine(denoiser)
    wanted = {str(seed): params(seed=seed, num_inference_steps=4) for seed in range(4)}
    for row_id, each in wanted.items():
        join(engine, row_id, each, tiny_sd.spec)
    drawn = images(run(engine))
    assert all(tiny_sd.off_by(each, drawn[row_id]) <= 1 for row_id, each in wanted.items())
    assert denoiser.batches[0] == 8
    assert max(denoiser.batches[1:]) == 4


def test_rows_of_divided_forwards_are_the_same_images(tiny_sd: Studio) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    engine = tiny_sd.engine(denoiser, rows=None)
    wanted = {str(seed): params(seed=seed, num_inference_steps=8) for seed in range(3)}
    for row_id, each in wanted.items():
        join(engine, row_id, each, tiny_sd.spec)
    drawn = images(run(engine))
    assert denoiser.batches[:4] == [4, 4, 2, 2], "two rows at once, then the same two apart"
    assert all(tiny_sd.off_by(each, drawn[row_id]) <= 1 for row_id, each in wanted.items())
