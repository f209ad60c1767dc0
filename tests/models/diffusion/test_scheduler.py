"""Admission and fair queueing: rows wait for capacity, and share the device by priority."""

from __future__ import annotations

import time
from concurrent.futures import Future

import pytest
import torch

from models.diffusion.capacity import Capacity, _Measurements
from models.diffusion.events import Finished
from models.diffusion.row import Finishing, Row, Running
from models.diffusion.scheduler import Scheduler, current_work
from tests.models.diffusion.rig import Studio, WatchedDenoiser, add_row, images, params, prepare, progress, run
from tests.models.diffusion.test_capacity import task


def test_rows_wait_for_room(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine(rows=2)
    assert engine.is_idle
    for row_id in "abc":
        add_row(engine, row_id, params(num_inference_steps=2), tiny_sd.spec)
    assert (engine.waiting, engine.is_idle, engine.row_ids) == (3, False, ("a", "b", "c"))
    assert {event.row_id for event in engine.step()} == {"a", "b"}
    assert {event.row_id for event in engine.step()} == {"a", "b"}
    assert (engine.waiting, engine.row_ids) == (1, ("c",))
    assert images(run(engine)).keys() == {"c"}
    assert (engine.is_idle, engine.step()) == (True, [])


def slow_for_large(studio: Studio) -> WatchedDenoiser:
    """A denoiser that takes a fifth of a second for 96 x 96 images, and next to nothing for 32 x 32."""
    denoiser = WatchedDenoiser(studio.checkpoint.denoiser)

    def dawdle(output: torch.Tensor, conditioning: object) -> torch.Tensor:
        time.sleep(0.2 if output.shape[-1] >= 12 else 0.0)
        return output

    denoiser.after = dawdle
    return denoiser


def test_a_large_image_does_not_hold_up_small_ones(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine(slow_for_large(tiny_sd))
    add_row(engine, "large", params(width=96, height=96, num_inference_steps=12), tiny_sd.spec)
    engine.step()
    add_row(engine, "small", params(width=32, height=32, num_inference_steps=10), tiny_sd.spec)
    events = run(engine)
    upto = next(
        number for number, event in enumerate(events) if isinstance(event, Finished) and event.row_id == "small"
    )
    assert len(progress(events[:upto], "large")) <= 5, "equal shares of the steps, not of the time"
    assert images(events).keys() == {"large", "small"}


def test_small_images_do_not_starve_a_large_one(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine(slow_for_large(tiny_sd), rows=3)
    add_row(engine, "large", params(width=96, height=96, num_inference_steps=3), tiny_sd.spec)
    for number in range(200):
        for row_id in {f"small {number}", f"small {number} too"}:
            add_row(
                engine, row_id, params(width=32, height=32, num_inference_steps=2, guidance_scale=1.0), tiny_sd.spec
            )
        if any(isinstance(event, Finished) and event.row_id == "large" for event in engine.step()):
            return
    raise AssertionError("the large image was never drawn")


def test_a_higher_priority_gets_more_of_the_device(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine(slow_for_large(tiny_sd), rows=8)
    for row_id, height, priority in (("usual", 96, 0), ("urgent", 104, 1)):
        add_row(
            engine, row_id, params(width=96, height=height, num_inference_steps=20, priority=priority), tiny_sd.spec
        )
    events = [event for _ in range(20) for event in engine.step()]
    assert len(progress(events, "urgent")) >= 3 * len(progress(events, "usual")) > 0


def waiting_row(row_id: str, studio: Studio, owner: str = "", **changes: float) -> Row:
    return Row(row_id, task(studio, params(**changes)), iter(()), owner)  # type: ignore[arg-type]


def test_higher_priorities_are_admitted_first(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(2))
    for row_id, priority in (("low", -1), ("usual", 0), ("high", 1)):
        scheduler.add(waiting_row(row_id, tiny_sd, priority=priority))
    assert [row.row_id for row in scheduler.admit()] == ["high", "usual"]
    assert (scheduler.waiting, scheduler.row_ids) == (1, ("high", "usual", "low"))


def test_a_new_row_starts_level_with_the_least_served_one(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(3))
    for row_id in ("much", "little"):
        scheduler.add(waiting_row(row_id, tiny_sd))
    much, little = scheduler.admit()
    scheduler.charge([much], 5.0)
    scheduler.charge([little], 2.0)
    scheduler.add(waiting_row("new", tiny_sd))
    (new,) = scheduler.admit()
    assert new.virtual_time_s == little.virtual_time_s == 2.0


def test_a_row_removed_during_admission_is_not_admitted(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(2))
    for row_id in "ab":
        scheduler.add(waiting_row(row_id, tiny_sd))
    admission = scheduler.admit()
    assert next(admission).row_id == "a"
    scheduler.remove("b")
    assert list(admission) == []
    assert scheduler.row_ids == ("a",)


def test_the_end_of_a_row_does_not_reach_its_successor(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(2))
    scheduler.add(waiting_row("row", tiny_sd))
    (first,) = scheduler.admit()
    scheduler.remove("row")
    scheduler.add(waiting_row("row", tiny_sd))
    (second,) = scheduler.admit()
    scheduler.end(first)
    assert (scheduler.is_running(first), scheduler.is_running(second)) == (False, True)


def ready(row: Row, studio: Studio) -> None:
    """Let ``row`` have been prepared."""
    row.enter(Running(prepare(studio, params())))


def decoding(row: Row) -> None:
    row.enter(Finishing(Future(), current_work(row)))


def test_rows_that_are_encoded_or_decoded_take_no_place(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(4), prepares_ahead=True)
    for number in range(9):
        scheduler.add(waiting_row(str(number), tiny_sd))
    admitted = list(scheduler.admit())
    assert len(admitted) == 6, "half as many as there are places are prepared ahead"
    for row in admitted:
        ready(row, tiny_sd)
    assert scheduler.select_batch() == admitted[:4]
    assert list(scheduler.admit()) == []
    decoding(admitted[0])
    assert scheduler.select_batch() == [*admitted[1:4], admitted[4]], "the place is given away at once"
    assert list(scheduler.admit()) == [], "a row that is decoded still takes memory"
    scheduler.end(admitted[0])
    assert len(list(scheduler.admit())) == 1


def test_without_side_work_beside_the_steps_rows_are_not_prepared_ahead(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(4))
    for number in range(9):
        scheduler.add(waiting_row(str(number), tiny_sd))
    assert len(list(scheduler.admit())) == 4


def test_places_go_to_the_highest_priority_and_then_to_the_oldest(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(2), prepares_ahead=True)
    drawn = [waiting_row("first", tiny_sd), waiting_row("second", tiny_sd)]
    waiting = [waiting_row("old", tiny_sd), waiting_row("urgent", tiny_sd, priority=1)]
    for row in drawn:
        scheduler.add(row)
    started = list(scheduler.admit())
    for row in started:
        ready(row, tiny_sd)
    scheduler.select_batch()
    for row in waiting:
        scheduler.add(row)
    started += scheduler.admit()
    assert started == [*drawn, waiting[1]]
    scheduler.end(drawn[0])
    started += scheduler.admit()
    for row in waiting:
        ready(row, tiny_sd)
    assert scheduler.select_batch() == [drawn[1], waiting[1]]
    decoding(drawn[1])
    assert scheduler.select_batch() == [waiting[1], waiting[0]]


def test_a_row_with_many_inputs_gets_the_places_that_become_free(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(4), prepares_ahead=True)
    large = prepare(tiny_sd, params(prompt="a AND b AND c AND d AND e"))
    rows = [waiting_row(str(number), tiny_sd) for number in range(4)]
    for row in rows:
        scheduler.add(row)
    for row in scheduler.admit():
        ready(row, tiny_sd)
    assert scheduler.select_batch() == rows
    wide, young = waiting_row("large", tiny_sd), waiting_row("small", tiny_sd)
    for row in (wide, young):
        scheduler.add(row)
    assert list(scheduler.admit()) == [wide, young]
    wide.enter(Running(large))
    ready(young, tiny_sd)
    for ended in range(3):
        assert scheduler.select_batch() == rows[ended:], "the younger row waits behind the large one"
        scheduler.end(rows[ended])
    assert set(scheduler.select_batch()) == {rows[3], wide}


def test_a_row_that_waited_for_its_place_starts_level_with_the_least_served_one(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(1), prepares_ahead=True)
    for row_id in "ab":
        scheduler.add(waiting_row(row_id, tiny_sd))
    first, second = scheduler.admit()
    for row in (first, second):
        ready(row, tiny_sd)
    assert scheduler.select_batch() == [first]
    scheduler.charge([first], 5.0)
    assert scheduler.select_batch() == [first], "a place is kept until the work is done"
    ready(first, tiny_sd)
    assert scheduler.select_batch() == [first], "a second pass of the older row goes before the younger row"
    scheduler.end(first)
    assert scheduler.select_batch() == [second]


@pytest.mark.parametrize(("rows", "steps_left", "expected"), [(0, 5, 1), (2, 5, 6), (8, 5, 1), (8, 1, 8)])
def test_as_many_jobs_are_taken_as_could_join_soon(tiny_sd: Studio, rows: int, steps_left: int, expected: int) -> None:
    scheduler = Scheduler(Capacity(8))
    for number in range(rows):
        scheduler.add(waiting_row(str(number), tiny_sd))
    for row in scheduler.admit():
        row.enter(Running(prepare(tiny_sd, params(num_inference_steps=steps_left))))
    assert scheduler.joining_soon() == expected


def owned(scheduler: Scheduler, studio: Studio, *row_ids: str, **changes: float) -> list[Row]:
    """Rows of the owners that the first letters name, admitted and ready to take steps."""
    for row_id in row_ids:
        scheduler.add(waiting_row(row_id, studio, row_id[0], **changes))
    admitted = list(scheduler.admit())
    for row in admitted:
        row.enter(Running(prepare(studio, params(**changes))))
    return admitted


def names(rows: list[Row]) -> list[str]:
    return [row.row_id for row in rows]


def test_the_first_row_of_another_owner_joins_beyond_the_capacity(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(2))
    assert names(owned(scheduler, tiny_sd, "a1", "a2", "a3")) == ["a1", "a2"]
    assert names(scheduler.select_batch()) == ["a1", "a2"]
    assert names(owned(scheduler, tiny_sd, "b1", "b2")) == ["b1"]
    assert names(scheduler.select_batch()) == ["b1", "a1"], "no forward is larger than the capacity"
    assert names(owned(scheduler, tiny_sd, "c1", "d1", "e1", "f1")) == ["c1", "d1", "e1"], "but not for any number"


def test_owners_share_the_places_whatever_their_priorities(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(6))
    for row_id, priority in (("a1", 2), ("a2", 2), ("a3", 2), ("a4", 2), ("b1", -2), ("b2", -1), ("a5", 2)):
        scheduler.add(waiting_row(row_id, tiny_sd, row_id[0], priority=priority))
    assert names(list(scheduler.admit())) == ["a1", "b2", "a2", "b1", "a3", "a4"]


def test_each_owner_gets_the_same_device_time(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(4))
    owned(scheduler, tiny_sd, "a1", "a2", "a3", priority=2)
    (other,) = owned(scheduler, tiny_sd, "b1", width=32)  # of another size, so that no forward is shared
    used = {"a": 0.0, "b": 0.0}
    for _ in range(100):
        batch = scheduler.select_batch()
        seconds = 1.0 * len(batch)
        scheduler.charge(batch, seconds)
        used[batch[0].owner] += seconds
        assert batch == [other] or other not in batch
    assert abs(used["a"] - used["b"]) <= 3


def test_a_weight_multiplies_the_device_time_and_the_places_of_its_owner(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(6))
    for row_id, weight in (("a1", 1), ("a2", 1), ("a3", 1), ("b1", 4), ("b2", 4), ("b3", 4), ("b4", 4), ("b5", 4)):
        row = waiting_row(row_id, tiny_sd, row_id[0], width=32 if row_id[0] == "b" else 64)
        row.weight = weight
        scheduler.add(row)
    admitted = list(scheduler.admit())
    assert names(admitted) == ["b1", "b2", "b3", "a1", "b4", "b5"]
    for row in admitted:
        row.enter(Running(prepare(tiny_sd, row.task.params)))
    used = {"a": 0.0, "b": 0.0}
    for _ in range(100):
        batch = scheduler.select_batch()
        scheduler.charge(batch, 1.0)
        used[batch[0].owner] += 1.0
    assert used == {"a": 20.0, "b": 80.0}


def test_forwards_that_owners_share_take_twice_the_time_at_most(tiny_sd: Studio) -> None:
    capacity = Capacity()
    scheduler = Scheduler(capacity)
    (first,) = owned(scheduler, tiny_sd, "a1")
    measured = capacity._measured.setdefault(first.cost_key, _Measurements())
    measured.target_batch_size = 32  # a forward of no inputs takes about the time of two inputs
    owned(scheduler, tiny_sd, *(f"a{number}" for number in range(2, 17)))
    assert len(scheduler.select_batch()) == 16
    owned(scheduler, tiny_sd, "b1")
    for _ in range(20):
        batch = scheduler.select_batch()
        assert names(batch)[0] == "b1" and len(batch) == 3, "two inputs each, and at most 2 * 2 + 2"
        scheduler.charge(batch, 3.0)


def test_an_owner_that_comes_back_starts_level_with_the_others(tiny_sd: Studio) -> None:
    scheduler = Scheduler(Capacity(2))
    owned(scheduler, tiny_sd, "a1")
    (other,) = owned(scheduler, tiny_sd, "b1", width=32)
    for _ in range(8):
        scheduler.charge(scheduler.select_batch(), 1.0)
    scheduler.end(other)
    for _ in range(8):
        scheduler.charge(scheduler.select_batch(), 1.0)
    owned(scheduler, tiny_sd, "b2", width=32)
    order = ""
    for _ in range(8):
        batch = scheduler.select_batch()
        order += batch[0].owner
        scheduler.charge(batch, 1.0)
    assert order.count("a") == order.count("b") == 4
