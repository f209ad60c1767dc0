"""Groups of images whose hashes are nearly equal, without comparing each with each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from models.eyes.fingerprints import HASH_BITS

PAIRS_MAX = 100_000_000
"""How many pairs of hashes are compared at most, in a second or two."""
EDGES_MAX = 2_000_000
"""How many pairs that are near are kept at most."""
_ROWS = 256

_Hashes = npt.NDArray[np.uint64]
_Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Groups:
    """Which of some images are near duplicates of each other."""

    groups: list[list[int]]
    """Places of images, at least two in each group; the largest group first, and in each the places ascending."""
    is_complete: bool
    """Whether all pairs that may be near were compared."""


def near_duplicates(hashes: _Hashes, max_distance: int) -> Groups:
    """Groups of ``hashes`` [n] that differ in at most ``max_distance`` bits from another one of their group.

    The bits are divided into ``max_distance + 1`` bands: two hashes with so few different bits have a band in common,
    so that only hashes with an equal band are compared.
    """
    unique, label_of = np.unique(hashes, return_inverse=True)
    first, second, is_complete = _edges(unique, max_distance)
    labels = _components(len(unique), first, second)[label_of]
    order = np.argsort(labels, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    groups = [sorted(run.tolist()) for run in runs if len(run) > 1]
    return Groups(sorted(groups, key=lambda group: (-len(group), group)), is_complete)


def _edges(unique: _Hashes, max_distance: int) -> tuple[_Places, _Places, bool]:
    """The pairs of ``unique`` that are near, as two arrays of places, and whether these are all."""
    compared = kept = 0
    firsts, seconds = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for run in _runs(unique, max_distance + 1):
        for start in range(0, len(run), _ROWS):
            rows, others = run[start : start + _ROWS], run[start:]
            compared += len(rows) * len(others)
            if compared > PAIRS_MAX or kept > EDGES_MAX:
                return np.concatenate(firsts), np.concatenate(seconds), False
            near = np.bitwise_count(unique[rows][:, None] ^ unique[others][None]) <= max_distance
            one, other = np.nonzero(np.triu(near, 1))
            firsts.append(rows[one])
            seconds.append(others[other])
            kept += len(one)
    return np.concatenate(firsts), np.concatenate(seconds), True


def _runs(unique: _Hashes, bands: int) -> Iterator[_Places]:
    """For each band, the places of those hashes that are equal in it; only where there are several."""
    if bands == 1:
        return  # all of them differ
    edges = np.linspace(0, HASH_BITS, bands + 1).astype(int)
    for low, high in pairwise(edges):
        values = (unique >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(values, kind="stable")
        for run in np.split(order, np.flatnonzero(np.diff(values[order])) + 1):
            if len(run) > 1:
                yield run


def _components(count: int, first: _Places, second: _Places) -> _Places:
    """A label for each of ``count`` places, the same for all that edges join."""
    labels = np.arange(count)
    while True:
        lower = np.minimum(labels[first], labels[second])
        joined = labels.copy()
        np.minimum.at(joined, first, lower)
        np.minimum.at(joined, second, lower)
        joined = joined[joined]
        if np.array_equal(joined, labels):
            return labels
        labels = joined
