"""A budget of pixels: who waits, who runs alone, and when pixels are given back."""

from __future__ import annotations

import gc
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.media.pixel_budget import Lease, PixelBudget, give_memory_back

LIMIT = 6400


@pytest.fixture
def budget() -> PixelBudget:
    return PixelBudget(LIMIT)


def started(budget: PixelBudget, px: int) -> Lease:
    lease = budget.request(px)
    assert lease.try_start()
    return lease


def test_what_does_not_fit_waits_for_its_turn(budget: PixelBudget) -> None:
    first = started(budget, 5000)
    second, third = budget.request(3000), budget.request(1000)
    assert not second.try_start()
    assert not third.try_start(), "it would fit, and must not overtake for ever"
    first.release()
    assert second.try_start() and third.try_start()
    assert budget.held_px == 4000


def test_what_is_larger_than_the_budget_runs_alone(budget: PixelBudget) -> None:
    first, huge = started(budget, 200), budget.request(LIMIT * 3)
    assert not huge.try_start()
    first.release()
    assert huge.try_start()
    assert not budget.request(LIMIT // 2).try_start()


def test_small_images_wait_for_nobody(budget: PixelBudget) -> None:
    started(budget, LIMIT)
    assert not budget.request(LIMIT).try_start()
    assert started(budget, 99).px == 99


def test_who_gives_up_holds_up_nobody(budget: PixelBudget) -> None:
    first = started(budget, LIMIT)
    given_up, next_one = budget.request(LIMIT), budget.request(LIMIT)
    given_up.release()
    first.release()
    assert next_one.try_start()


def test_kept_images_hold_their_pixels_until_they_are_gone(budget: PixelBudget) -> None:
    lease = started(budget, 5000)
    images = [Image.new("RGB", (10, 10)), Image.new("L", (20, 10))]
    lease.keep(images, 1000)
    assert budget.held_px == 1300
    del images[1]
    assert budget.held_px == 1100
    images.clear()
    assert budget.held_px == 0


def test_nothing_kept_is_nothing_held(budget: PixelBudget) -> None:
    started(budget, 5000).keep([], 1000)
    assert budget.held_px == 0


@settings(deadline=None)
@given(st.lists(st.integers(1, LIMIT * 2), min_size=1, max_size=12))
def test_there_are_never_more_pixels_than_the_budget_unless_one_is_alone(sizes: list[int]) -> None:
    budget, lock, held, seen = PixelBudget(LIMIT), threading.Lock(), [], []

    def work(px: int) -> None:
        lease = budget.acquire(px)
        with lock:
            held.append(px)
            seen.append(list(held))
        with lock:
            held.remove(px)
        lease.release()

    threads = [threading.Thread(target=work, args=(px,)) for px in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    small = LIMIT // 64
    for together in seen:
        large = [px for px in together if px > small]
        assert sum(large) <= LIMIT or len(large) == 1
    assert budget.held_px == 0


def test_memory_can_be_given_back_anywhere() -> None:
    give_memory_back()


def test_garbage_that_holds_pixels_is_collected(budget: PixelBudget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.media.pixel_budget._COLLECT_AFTER_S", 0.05)
    image = Image.new("L", (80, 80))
    lease = started(budget, LIMIT)
    lease.keep([image])
    cycle: list[object] = [image]
    cycle.append(cycle)
    gc.disable()
    try:
        del image, cycle
        assert budget.held_px == LIMIT
        assert budget.acquire(LIMIT) is not None
    finally:
        gc.enable()


def test_who_is_no_longer_wanted_stops_waiting(budget: PixelBudget) -> None:
    first = started(budget, LIMIT)
    assert budget.acquire(LIMIT, lambda: False) is None
    first.release()
    assert budget.held_px == 0 and started(budget, LIMIT).px == LIMIT
