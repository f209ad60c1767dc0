"""The cache of conditionings: what it keeps, what it drops, and that threads may share it."""

from __future__ import annotations

import threading

import pytest
import torch

from models.diffusion.denoiser import Conditioning
from models.diffusion.embed_cache import EmbeddingCache

SIZE_BYTES = 4 * (77 * 8 + 4)
KEY = ("sd", "", "a cat")


def encode(inputs: int = 1) -> Conditioning:
    return Conditioning(torch.zeros(inputs, 77, 8), extra_kwargs={"text_embeds": torch.zeros(inputs, 4)})


def never() -> Conditioning:
    raise AssertionError("encoded again")


def test_what_was_encoded_once_is_not_encoded_again() -> None:
    cache = EmbeddingCache(10 * SIZE_BYTES)
    first = cache.get(KEY, encode)
    assert cache.get(("sd", "", "a cat"), never) is first
    assert cache.size_bytes == SIZE_BYTES


def test_the_least_recently_used_is_dropped_first() -> None:
    cache = EmbeddingCache(2 * SIZE_BYTES + 1)
    for text in ("a", "b", "a", "c"):
        cache.get(text, encode)
    assert cache.size_bytes == 2 * SIZE_BYTES
    cache.get("a", never)
    cache.get("c", never)
    with pytest.raises(AssertionError, match="encoded again"):
        cache.get("b", never)


def test_what_is_larger_than_the_budget_is_given_but_not_held() -> None:
    cache = EmbeddingCache(SIZE_BYTES)
    held = cache.get(KEY, encode)
    assert len(cache.get("long", lambda: encode(2)).hidden_states) == 2
    assert cache.size_bytes == SIZE_BYTES and cache.get(KEY, never) is held


def test_clearing_lets_everything_go() -> None:
    cache = EmbeddingCache(10 * SIZE_BYTES)
    first = cache.get(KEY, encode)
    cache.clear()
    assert cache.size_bytes == 0 and cache.get(KEY, encode) is not first


def test_a_failure_is_raised_and_not_held() -> None:
    cache = EmbeddingCache(10 * SIZE_BYTES)
    with pytest.raises(AssertionError):
        cache.get(KEY, never)
    assert cache.size_bytes == 0 and cache.get(KEY, encode)


def test_threads_that_miss_at_once_share_what_came_first() -> None:
    cache, gate, given = EmbeddingCache(10 * SIZE_BYTES), threading.Barrier(4), list[Conditioning]()

    def slow() -> Conditioning:
        gate.wait(timeout=10)
        return encode()

    threads = [threading.Thread(target=lambda: given.append(cache.get(KEY, slow))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 4 and all(each is given[0] for each in given)
    assert cache.size_bytes == SIZE_BYTES
