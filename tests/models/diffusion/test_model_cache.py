"""The model cache: one load for equal requests, the memory budget, and which models are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest
import torch
from torch import nn

from models.diffusion.model_cache import CHILDREN_MAX, ModelCache, tensors_of
from models.diffusion.work import Download, LoadRequest
from models.errors import ModelUnavailable, OutOfMemory

CPU = torch.device("cpu")


@pytest.fixture
def open_cache() -> Iterator[Callable[..., ModelCache]]:
    caches: list[ModelCache] = []

    def make(**options: Any) -> ModelCache:
        caches.append(ModelCache(CPU, **options))
        return caches[-1]

    yield make
    for cache in caches:
        cache.close()


def load(name: str, numbers: int = 25) -> LoadRequest[nn.Linear]:
    """A request for a module with four bytes for each of its numbers."""
    return LoadRequest(name, name, lambda: nn.Linear(numbers, 1, bias=False))


def test_equal_requests_are_loaded_once(open_cache: Callable[..., ModelCache]) -> None:
    cache = open_cache()
    assert cache.request(load("a")).result() is cache.request(load("a")).result()


def test_a_model_of_another_version_is_loaded_anew_once_no_row_uses_it(open_cache: Callable[..., ModelCache]) -> None:
    in_use: set[str] = set()
    versions = {"a": 1, "b": 1}
    cache = open_cache(in_use=lambda: in_use)

    def ask(name: str) -> Any:  # two names of the same weights
        request = LoadRequest("weights", name, lambda: nn.Linear(1, 1), version=lambda: versions[name])
        return cache.request(request).result()

    first = ask("a")
    versions["b"] = 2
    assert ask("b") is first, "the name that it was loaded by counts"
    versions["a"], in_use = 2, {"weights"}
    assert ask("a") is first
    in_use = set()
    second = ask("a")
    assert second is not first and ask("a") is second and cache.loaded == ("weights",)


def test_the_least_recently_used_goes_first(open_cache: Callable[..., ModelCache]) -> None:
    cache = open_cache(budget_bytes=200)
    for name in ("a", "b", "a", "c"):
        cache.request(load(name)).result()
    assert cache.loaded == ("a", "c")


def test_a_load_after_a_download_is_canceled_when_the_cache_was_closed(
    open_cache: Callable[..., ModelCache],
) -> None:
    cache, is_closed = open_cache(), threading.Event()
    request = LoadRequest("a", "a", lambda: nn.Linear(1, 1), Download(lambda: True, lambda _: is_closed.wait(5)))
    future = cache.request(request)
    cache.close()
    is_closed.set()
    with pytest.raises(CancelledError):
        future.result(5)
    assert cache.loaded == ()


def test_what_the_cache_did_is_counted(open_cache: Callable[..., ModelCache]) -> None:
    cache = open_cache(budget_bytes=200)
    for name in ("a", "b", "a", "c"):
        cache.request(load(name)).result()

    def fail() -> None:
        raise ModelUnavailable("gone")

    cache.request(LoadRequest("broken", "broken", fail)).result()
    counts = cache.counts
    assert (counts.hits, counts.loads, counts.failures, counts.evictions) == (1, 3, 1, 1)
    assert (counts.models, counts.held_bytes) == (2, 200)
    assert counts.load_s > 0


def test_what_rows_use_stays_beyond_the_budget(open_cache: Callable[..., ModelCache]) -> None:
    cache = open_cache(budget_bytes=100, in_use=lambda: {"a"})
    for name in ("a", "b", "c"):
        cache.request(load(name)).result()
    assert cache.loaded == ("a", "c")


def test_a_load_does_not_hold_up_the_caller(open_cache: Callable[..., ModelCache]) -> None:
    cache, release = open_cache(), threading.Event()
    future = cache.request(LoadRequest("slow", "slow", lambda: release.wait(10)))
    assert not future.done()
    release.set()
    assert future.result(10)


def test_a_failure_is_tried_again_at_the_next_request(open_cache: Callable[..., ModelCache]) -> None:
    cache, outcomes = open_cache(), [ModelUnavailable("gone"), nn.Linear(1, 1)]

    def flaky() -> nn.Module:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert isinstance(cache.request(LoadRequest("a", "a", flaky)).result(), ModelUnavailable)
    assert isinstance(cache.request(LoadRequest("a", "a", flaky)).result(), nn.Linear)
    assert cache.loaded == ("a",)


def test_without_memory_all_that_is_idle_goes_and_the_load_is_tried_once_more(
    open_cache: Callable[..., ModelCache],
) -> None:
    cache, tries = open_cache(in_use=lambda: {"busy"}), []
    for name in ("idle", "busy"):
        cache.request(load(name)).result()

    def tight() -> nn.Module:
        tries.append(cache.loaded)
        if "idle" in cache.loaded:
            raise torch.OutOfMemoryError("full")
        return nn.Linear(1, 1)

    assert isinstance(cache.request(LoadRequest("new", "new", tight)).result(), nn.Linear)
    assert tries == [("idle", "busy"), ("busy",)]
    assert cache.loaded == ("busy", "new")


def test_with_nothing_to_drop_it_is_out_of_memory(open_cache: Callable[..., ModelCache]) -> None:
    def full() -> nn.Module:
        raise torch.OutOfMemoryError("full")

    assert isinstance(open_cache().request(LoadRequest("new", "new", full)).result(), OutOfMemory)


def test_shared_weights_count_once() -> None:
    first, second = nn.Linear(10, 10), nn.Linear(10, 10)
    second.weight = first.weight

    class Both:
        modules = (first, second)

    assert sum(tensors_of(Both()).values()) == 4 * (100 + 10 + 10)


def sharing(parent: nn.Linear, name: str) -> LoadRequest[nn.Sequential]:
    """A request for a module with the tensors of ``parent`` and 4 bytes of its own."""
    return LoadRequest(name, name, lambda: nn.Sequential(parent, nn.Linear(1, 1, bias=False)), parent="base")


def test_the_tensors_of_a_parent_count_once_for_all_its_children(open_cache: Callable[..., ModelCache]) -> None:
    cache = open_cache(budget_bytes=108)
    base = cache.request(load("base")).result()
    for name in ("first", "second"):
        cache.request(sharing(base, name)).result()
    assert cache.loaded == ("base", "first", "second")
    cache.request(sharing(base, "third")).result()
    assert cache.loaded == ("base", "second", "third")


def test_a_parent_is_dropped_together_with_its_children(open_cache: Callable[..., ModelCache]) -> None:
    cache = open_cache(budget_bytes=200)
    base = cache.request(load("base")).result()
    cache.request(load("other")).result()
    cache.request(sharing(base, "child")).result()
    assert cache.loaded == ("base", "child")
    cache.request(load("another")).result()
    assert cache.loaded == ("another",)


def test_only_a_few_children_of_a_parent_are_kept(open_cache: Callable[..., ModelCache]) -> None:
    cache = open_cache()
    cache.request(load("other")).result()
    base = cache.request(load("base")).result()
    names = [str(number) for number in range(CHILDREN_MAX + 2)]
    for name in names:
        cache.request(sharing(base, name)).result()
    assert cache.loaded == ("other", "base", *names[2:])
