"""Groups of near duplicates: the same as by comparing each hash with each, and bounded in what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from service.backbone import near_duplicates as module
from service.backbone.near_duplicates import near_duplicates


def by_comparing_all(hashes, max_distance):
    """The groups, by following each near pair."""
    left, groups = set(range(len(hashes))), []
    while left:
        group, waiting = set(), [left.pop()]
        while waiting:
            place = waiting.pop()
            group.add(place)
            near = [other for other in left if (int(hashes[place]) ^ int(hashes[other])).bit_count() <= max_distance]
            left -= set(near)
            waiting += near
        groups.append(sorted(group))
    return sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), group))


def scattered(count, seed):
    """Random hashes, of which each is repeated with a few bits changed."""
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, 1 << 64, count, dtype=np.uint64)
    changed = []
    for base in bases:
        for _ in range(int(rng.integers(0, 4))):
            bits = rng.choice(64, int(rng.integers(0, 9)), replace=False)
            changed.append(base ^ np.uint64(sum(1 << int(bit) for bit in bits)))
    return np.array([*bases, *changed], np.uint64)


@pytest.mark.parametrize("max_distance", range(7))
def test_the_groups_are_those_of_comparing_all(max_distance):
    hashes = scattered(60, max_distance)
    found = near_duplicates(hashes, max_distance)
    assert found.is_complete
    assert found.groups == by_comparing_all(hashes, max_distance) != []


def test_nothing_and_few_things_have_no_groups():
    for hashes in ([], [7], [0, (1 << 64) - 1]):
        assert near_duplicates(np.array(hashes, np.uint64), 4).groups == []


def test_equal_hashes_are_one_group_whatever_the_distance():
    assert near_duplicates(np.array([5, 9, 5, 5], np.uint64), 0).groups == [[0, 2, 3]]


@pytest.mark.parametrize("limit", ["PAIRS_MAX", "EDGES_MAX"])
def test_too_many_pairs_end_the_comparison(monkeypatch, limit):
    monkeypatch.setattr(module, limit, 1000)
    close = np.arange(4096, dtype=np.uint64)
    found = near_duplicates(close, 4)
    assert not found.is_complete
    assert bool(found.groups) == (limit == "EDGES_MAX")
