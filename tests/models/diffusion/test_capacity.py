"""Capacity: the number of rows drawn at once, from measured forwards and from the device's memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import count, cycle, repeat

import pytest

from models.catalog.catalog import Catalog
from models.catalog.families import TXT2IMG
from models.diffusion.batching import split
from models.diffusion.capacity import GROW_AFTER, RECENT, ROWS_MAX, Capacity, Forward
from models.diffusion.row import Row
from models.diffusion.work import Task
from models.jobs.params import UPSCALE, Control, DrawParams, UpscaleParams
from tests.models.diffusion.rig import Studio, WatchedDenoiser, add_row, images, params, run
from tests.models.diffusion.test_isolation import refuse_more_than


def task(studio: Studio, wanted: DrawParams) -> Task:
    return Task(kind=TXT2IMG, params=wanted, catalog=Catalog({"tiny": studio.spec}), images={})


def rows(studio: Studio, how_many: int, wanted: DrawParams | None = None) -> list[Row]:
    """Rows that are not prepared yet."""
    return [Row(str(number), task(studio, wanted or params()), iter(())) for number in range(how_many)]  # type: ignore[arg-type]


def admitted(capacity: Capacity, studio: Studio) -> int:
    """How many rows with one cost key are drawn at once."""
    beside = rows(studio, 0)
    for row in rows(studio, 100):
        if capacity.admits(row, beside):
            beside.append(row)
    return len(beside)


class Model:
    """A model whose forward of n inputs takes ``seconds(n)``, times the next value of ``noise``.

    It pads batches to ``batch_sizes``, and a shape that runs for the first time takes ``first_s`` longer.

    Forwards also take turns with the factors in ``step_costs``, like steps that reuse features or have ControlNets.
    """

    def __init__(
        self,
        seconds: Callable[[int], float],
        noise: Iterator[float] | None = None,
        step_costs: Sequence[float] = (1.0,),
        batch_sizes: tuple[int, ...] = (),
        first_s: float = 0.0,
    ) -> None:
        self.seconds, self.noise, self.step_costs = seconds, noise or repeat(1.0), cycle(step_costs)
        self.batch_sizes, self.first_s = batch_sizes, first_s
        self.have_run: set[int] = set()
        self.split_forwards = 0

    def draw(self, capacity: Capacity, cost_key: Hashable, forwards: int, waiting: int = 100) -> None:
        """Forwards of as many rows of two inputs as ``capacity`` admits of those that are ``waiting``."""
        for _ in range(forwards):
            rows = range(min(waiting, capacity.max_inputs(cost_key) // 2, ROWS_MAX))
            step_cost = next(self.step_costs)
            forward = self.forward(cost_key, len(rows), step_cost)
            parts = [
                self.forward(cost_key, len(part), step_cost) for part in split(rows, capacity.split_count(forward))
            ]
            self.split_forwards += len(parts) > 1
            seconds = sum(self.seconds(part.computed) for part in parts) * next(self.noise) * step_cost
            first = [part.shape for part in parts if part.shape not in self.have_run]
            self.have_run |= set(first)
            capacity.record(forward, seconds + self.first_s * len(first), parts)

    def forward(self, cost_key: Hashable, rows: int, step_cost: float) -> Forward:
        return Forward(cost_key, rows, 2 * rows, step_cost, step_cost, self.batch_sizes)


def line(fixed_s: float, each_s: float) -> Callable[[int], float]:
    return lambda inputs: fixed_s + each_s * inputs


def parts_of(forward: Forward) -> list[Forward]:
    """Its four parts, with two inputs for each row."""
    return [replace(forward, rows=len(part), inputs=2 * len(part)) for part in split(range(forward.rows), 4)]


def run_once(capacity: Capacity, forward: Forward) -> Forward:
    """Run ``forward`` whole and split for the first time, which does not count."""
    for parts in ([forward], parts_of(forward)):
        capacity.record(forward, 1.0, parts)
    return forward


def cost_key_of(studio: Studio) -> Hashable:
    made = task(studio, params())
    return made.params.cost_key(made.catalog)


@pytest.mark.parametrize(
    ("fixed_s", "each_s", "expected"),
    [(0.0, 0.1, 2), (0.1, 0.1, 7), (0.05, 0.05, 7), (0.2, 0.1, 15), (0.3, 0.1, 23), (1.0, 0.01, ROWS_MAX)],
)
def test_rows_are_added_while_a_batch_is_worth_doubling(
    tiny_sd: Studio, fixed_s: float, each_s: float, expected: int
) -> None:
    capacity, model = Capacity(), Model(line(fixed_s, each_s))
    model.draw(capacity, cost_key_of(tiny_sd), 1000)
    assert admitted(capacity, tiny_sd) == expected
    assert 1 < model.split_forwards < 60, "measuring must not cost much"


def test_the_target_stays_near_its_place_on_a_noisy_device(tiny_sd: Studio) -> None:
    """15 rows are best; each forward deviates by up to 3 %, and every tenth takes up to three times as long."""
    lots = random.Random(7)
    noise = (lots.uniform(0.97, 1.03) * (lots.uniform(1, 3) if lots.random() < 0.1 else 1.0) for _ in count())
    capacity, model, cost_key = Capacity(), Model(line(0.2, 0.1), noise), cost_key_of(tiny_sd)
    model.draw(capacity, cost_key, 200)
    for waiting in [100, 1, 100, 2, 100] * 10:  # in turn as many rows as fit, and very few
        model.draw(capacity, cost_key, 200, waiting)
        assert 6 <= admitted(capacity, tiny_sd) <= 31


def test_a_slow_moment_is_forgotten(tiny_sd: Studio) -> None:
    """For a moment every forward is slow by chance, as if batches gained nothing."""
    capacity, cost_key = Capacity(), cost_key_of(tiny_sd)
    Model(line(0.2, 0.1)).draw(capacity, cost_key, 200)
    Model(line(0.0, 1.0)).draw(capacity, cost_key, 500)
    assert admitted(capacity, tiny_sd) == 2
    Model(line(0.2, 0.1)).draw(capacity, cost_key, 500)
    assert admitted(capacity, tiny_sd) == 15


def test_the_target_does_not_oscillate_where_small_batches_leave_the_device_idle(tiny_sd: Studio) -> None:
    """Nearly as on a GPU: up to twelve inputs take as long as one, and larger batches gain nothing."""
    capacity, model, cost_key = Capacity(), Model(lambda inputs: max(1.0, inputs / 12)), cost_key_of(tiny_sd)
    model.draw(capacity, cost_key, 200)
    found = set()
    for _ in range(1000):
        model.draw(capacity, cost_key, 1)
        found.add(capacity.max_inputs(cost_key))
    assert 12 < min(found) <= max(found) < 1.3 * min(found) < 64
    assert model.split_forwards < 60


def test_one_measurement_changes_the_target_little(tiny_sd: Studio) -> None:
    capacity, model, cost_key = Capacity(), Model(line(0.2, 0.1)), cost_key_of(tiny_sd)
    model.draw(capacity, cost_key, 500)
    known = capacity.max_inputs(cost_key)
    forward = run_once(capacity, Forward(cost_key, known // 2, known))
    for whole_s, split_s in ((1.0, 1000.0), (1000.0, 1.0)):
        capacity.record(forward, whole_s, [forward])
        capacity.record(forward, split_s, parts_of(forward))
        assert abs(capacity.max_inputs(cost_key) - known) <= 0.2 * known + 1


def test_the_target_can_fall_from_its_maximum(tiny_sd: Studio) -> None:
    capacity, cost_key = Capacity(), cost_key_of(tiny_sd)
    Model(line(1.0, 0.0)).draw(capacity, cost_key, 3000)
    assert admitted(capacity, tiny_sd) == ROWS_MAX
    Model(line(0.0, 1.0)).draw(capacity, cost_key, 1000)
    assert admitted(capacity, tiny_sd) == 2


def test_only_forwards_of_the_same_size_are_compared(tiny_sd: Studio) -> None:
    capacity, model, cost_key = Capacity(), Model(line(0.2, 0.1)), cost_key_of(tiny_sd)
    model.draw(capacity, cost_key, 500)
    model.split_forwards = 0
    sizes = range(15, 15 - RECENT - 1, -1)
    assert 2 * sizes[-1] >= 15, "all are large enough to be split"
    for waiting in [*sizes] * 50:
        model.draw(capacity, cost_key, 1, waiting)
    assert model.split_forwards == 0


@pytest.mark.parametrize("step_costs", [(1.0, 0.4), (1.0, 0.4, 0.4), (1.0, 0.4, 0.4, 0.4, 0.4)])
def test_only_forwards_with_equal_steps_are_compared(tiny_sd: Studio, step_costs: Sequence[float]) -> None:
    """Rows with one cost key may take expensive and cheap steps in turn."""
    capacity, model, cost_key = Capacity(), Model(line(0.2, 0.1), step_costs=step_costs), cost_key_of(tiny_sd)
    model.draw(capacity, cost_key, 1000)
    assert admitted(capacity, tiny_sd) == 15


def test_a_split_forward_is_compared_with_the_latest_equal_one(tiny_sd: Studio) -> None:
    capacity, model, cost_key = Capacity(), Model(line(0.2, 0.1)), cost_key_of(tiny_sd)
    model.draw(capacity, cost_key, 500)
    forward = run_once(capacity, Forward(cost_key, 15, known := capacity.max_inputs(cost_key)))
    for seconds, parts in ((1000.0, [forward]), (1.0, [forward]), (10.0, parts_of(forward))):
        capacity.record(forward, seconds, parts)
    assert capacity.max_inputs(cost_key) > known


BUCKETS = (1, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32)


@pytest.mark.parametrize(
    ("fixed_s", "each_s", "expected"),
    [(0.0, 0.1, 2), (0.1, 0.1, 8), (0.14, 0.1, 12), (0.2, 0.1, 16), (0.3, 0.1, 16), (1.0, 0.01, 16)],
)
def test_a_model_that_pads_fills_the_size_to_which_it_would_pad(
    tiny_sd: Studio, fixed_s: float, each_s: float, expected: int
) -> None:
    """Without padding 2, 7, 10, 15, 23 and 32 rows would be drawn; nothing is gained above the last size."""
    capacity, model = Capacity(), Model(line(fixed_s, each_s), batch_sizes=BUCKETS)
    model.draw(capacity, cost_key_of(tiny_sd), 1000)
    assert admitted(capacity, tiny_sd) == expected


@pytest.mark.parametrize("batch_sizes", [(), BUCKETS, (8, 32)])
def test_padding_of_parts_is_not_learnt_as_a_fixed_cost(tiny_sd: Studio, batch_sizes: tuple[int, ...]) -> None:
    """Four parts of five rows each compute more inputs than the whole if they are padded, and take longer for it."""
    capacity, cost_key = Capacity(), cost_key_of(tiny_sd)
    model = Model(line(0.2, 0.1), batch_sizes=batch_sizes)
    model.draw(capacity, cost_key, 3000, waiting=10)
    assert 25 <= capacity._measured[cost_key].target_batch_size <= 35


@pytest.mark.parametrize("batch_sizes", [(2, 8), (8, 32), (32,)])
def test_few_sizes_do_not_keep_batches_small(tiny_sd: Studio, batch_sizes: tuple[int, ...]) -> None:
    """If time for compiling ran out, all parts of a small batch may be padded to the size of the whole."""
    capacity, model = Capacity(), Model(line(1.0, 0.01), batch_sizes=batch_sizes)
    model.draw(capacity, cost_key_of(tiny_sd), 1000)
    assert capacity.max_inputs(cost_key_of(tiny_sd)) == batch_sizes[-1]


@pytest.mark.parametrize("batch_sizes", [(), BUCKETS])
def test_compiling_is_not_learnt_as_a_cost(tiny_sd: Studio, batch_sizes: tuple[int, ...]) -> None:
    """Each shape takes a minute longer when it first runs."""
    quick, slow, cost_key = Capacity(), Capacity(), cost_key_of(tiny_sd)
    targets = []
    for capacity, first_s in ((quick, 0.0), (slow, 60.0)):
        Model(line(0.2, 0.1), batch_sizes=batch_sizes, first_s=first_s).draw(capacity, cost_key, 500)
        targets.append(capacity._measured[cost_key].target_batch_size)
    assert targets[0] == targets[1]


def test_a_memory_limit_is_rounded_to_the_sizes_and_rises_from_one_to_the_next() -> None:
    capacity, padded = Capacity(16), Forward("key", 4, 8, batch_sizes=BUCKETS)
    capacity.record(padded, 1.0, [padded])
    capacity.record_out_of_memory("key", 20)
    assert capacity.max_inputs("key") == 8
    for _ in range(2 * GROW_AFTER):
        capacity.record(padded, 1.0, [padded])
    assert capacity.max_inputs("key") == 12


def test_small_batches_are_not_split_and_keep_the_target(tiny_sd: Studio) -> None:
    capacity, model, cost_key = Capacity(), Model(line(0.2, 0.1)), cost_key_of(tiny_sd)
    model.draw(capacity, cost_key, 500)
    known, model.split_forwards = admitted(capacity, tiny_sd), 0
    model.draw(capacity, cost_key, 5000, waiting=2)
    assert (model.split_forwards, admitted(capacity, tiny_sd)) == (0, known)


def test_a_fixed_number_of_rows_needs_no_measuring(tiny_sd: Studio) -> None:
    model = Model(line(0.2, 0.1))
    model.draw(Capacity(5), cost_key_of(tiny_sd), 500)
    assert model.split_forwards == 0


def test_before_anything_is_known_two_rows_are_drawn_at_once(tiny_sd: Studio) -> None:
    assert admitted(Capacity(), tiny_sd) == 2


def test_a_fixed_number_of_rows_is_kept(tiny_sd: Studio) -> None:
    assert admitted(Capacity(5), tiny_sd) == 5


def test_each_cost_key_has_its_own_capacity(tiny_sd: Studio) -> None:
    capacity = Capacity()
    full = rows(tiny_sd, 2)
    (another,) = rows(tiny_sd, 1)
    (larger,) = rows(tiny_sd, 1, params(width=96))
    (steered,) = rows(tiny_sd, 1, params(controls=(Control(model="lines"),)))
    enlarged = Row("up", replace(task(tiny_sd, params()), kind=UPSCALE, params=UpscaleParams(
        image="input:x", scale=2, upscaler="Lanczos")), iter(()))  # type: ignore[arg-type]  # fmt: skip
    assert [capacity.admits(row, full) for row in (another, larger, steered, enlarged)] == [False, True, True, True]


def test_a_batch_size_that_did_not_fit_is_not_tried_again(tiny_sd: Studio) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser, before=refuse_more_than(4))
    engine = tiny_sd.engine(denoiser)
    wanted = {str(seed): params(seed=seed, num_inference_steps=4) for seed in range(4)}
    for row_id, each in wanted.items():
        add_row(engine, row_id, each, tiny_sd.spec)
    drawn = images(run(engine))
    assert all(tiny_sd.off_by(each, drawn[row_id]) <= 1 for row_id, each in wanted.items())
    assert denoiser.batches[:2] == [8, 8], "tried once more after the cached prompts were dropped"
    assert max(denoiser.batches[2:]) == 4


def test_the_memory_limit_rises_again_and_falls_back_to_what_fitted() -> None:
    capacity = Capacity(16)
    capacity.record_out_of_memory("key", 16)
    assert capacity.max_inputs("key") == 8
    for _ in range(GROW_AFTER):
        capacity.record(Forward("key", 4, 8), 1.0, [Forward("key", 4, 8)])
    assert capacity.max_inputs("key") == 10
    capacity.record_out_of_memory("key", 10)
    assert capacity.max_inputs("key") == 8
    capacity.record_out_of_memory("key", 8)
    assert capacity.max_inputs("key") == 4, "less memory is free than before"


def test_the_memory_limit_does_not_rise_while_batches_are_smaller() -> None:
    capacity = Capacity(16)
    capacity.record_out_of_memory("key", 16)
    for _ in range(2 * GROW_AFTER):
        capacity.record(Forward("key", 2, 4), 1.0, [Forward("key", 2, 4)])
    assert capacity.max_inputs("key") == 8


def test_rows_of_split_forwards_give_the_same_images(tiny_sd: Studio) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    engine = tiny_sd.engine(denoiser, rows=None)
    wanted = {str(seed): params(seed=seed, num_inference_steps=8) for seed in range(3)}
    for row_id, each in wanted.items():
        add_row(engine, row_id, each, tiny_sd.spec)
    drawn = images(run(engine))
    whole, parts = [4] * 3, [2, 2]
    assert denoiser.batches[:7] == whole + parts * 2, "a split whose parts ran for the first time is made once more"
    assert all(tiny_sd.off_by(each, drawn[row_id]) <= 1 for row_id, each in wanted.items())


def test_what_an_earlier_process_found_is_where_a_cost_key_begins() -> None:
    capacity = Capacity()
    for inputs, expected in ((14, 14), (1, 4), (10_000, 2 * ROWS_MAX)):
        capacity.expect(f"at {inputs}", inputs)
        assert capacity.max_inputs(f"at {inputs}") == expected
    capacity.expect("at 14", 20)
    assert capacity.max_inputs("at 14") == 14, "it is known already"
    assert capacity.max_inputs("unknown") == 4
