"""What is loaded once, kept within its budget, and dropped when nobody uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from models.diffusion.shelf import Shelf, size_bytes
from models.diffusion.work import Load
from models.errors import ModelUnavailable, OutOfMemory

CPU = torch.device("cpu")


@pytest.fixture
def open_shelf() -> Iterator[Callable[..., Shelf]]:
    shelves: list[Shelf] = []

    def make(budget_bytes: int | None = None) -> Shelf:
        shelves.append(Shelf(CPU, budget_bytes))
        return shelves[-1]

    yield make
    for shelf in shelves:
        shelf.close()


def load(name: str, numbers: int = 25) -> Load:
    """A module of four bytes for each of its numbers."""
    return Load(name, name, lambda: nn.Linear(numbers, 1, bias=False))


def test_equal_wishes_are_loaded_once(open_shelf: Callable[..., Shelf]) -> None:
    shelf = open_shelf()
    assert shelf.request(load("a")).result() is shelf.request(load("a")).result()


def test_the_least_recently_used_goes_first(open_shelf: Callable[..., Shelf]) -> None:
    shelf = open_shelf(budget_bytes=200)
    for name in ("a", "b", "a", "c"):
        shelf.request(load(name)).result()
    assert shelf.loaded == ("a", "c")


def test_what_rows_use_stays_beyond_the_budget(open_shelf: Callable[..., Shelf]) -> None:
    shelf = open_shelf(budget_bytes=100)
    shelf.keep(lambda: {"a"})
    for name in ("a", "b", "c"):
        shelf.request(load(name)).result()
    assert shelf.loaded == ("a", "c")


def test_a_load_does_not_hold_up_the_caller(open_shelf: Callable[..., Shelf]) -> None:
    shelf, release = open_shelf(), threading.Event()
    future = shelf.request(Load("slow", "slow", lambda: release.wait(10)))
    assert not future.done()
    release.set()
    assert future.result(10)


def test_a_failure_is_tried_again_at_the_next_wish(open_shelf: Callable[..., Shelf]) -> None:
    shelf, outcomes = open_shelf(), [ModelUnavailable("gone"), nn.Linear(1, 1)]

    def flaky() -> nn.Module:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert isinstance(shelf.request(Load("a", "a", flaky)).result(), ModelUnavailable)
    assert isinstance(shelf.request(Load("a", "a", flaky)).result(), nn.Linear)
    assert shelf.loaded == ("a",)


def test_without_memory_all_that_is_idle_goes_and_the_load_is_tried_once_more(
    open_shelf: Callable[..., Shelf],
) -> None:
    shelf, tries = open_shelf(), []
    shelf.keep(lambda: {"busy"})
    for name in ("idle", "busy"):
        shelf.request(load(name)).result()

    def tight() -> nn.Module:
        tries.append(shelf.loaded)
        if "idle" in shelf.loaded:
            raise torch.OutOfMemoryError("full")
        return nn.Linear(1, 1)

    assert isinstance(shelf.request(Load("new", "new", tight)).result(), nn.Linear)
    assert tries == [("idle", "busy"), ("busy",)]
    assert shelf.loaded == ("busy", "new")


def test_with_nothing_to_drop_it_is_out_of_memory(open_shelf: Callable[..., Shelf]) -> None:
    def full() -> nn.Module:
        raise torch.OutOfMemoryError("full")

    assert isinstance(open_shelf().request(Load("new", "new", full)).result(), OutOfMemory)


def test_shared_weights_count_once() -> None:
    first, second = nn.Linear(10, 10), nn.Linear(10, 10)
    second.weight = first.weight

    class Both:
        modules = (first, second)

    assert size_bytes(Both()) == 4 * (100 + 10 + 10)
