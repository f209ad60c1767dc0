"""Which rows share a forward, whose turn it is, and the forward itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

import torch

from models.diffusion.failures import attempt, release_memory
from models.diffusion.row import Row
from models.diffusion.work import Work
from models.errors import JobFailure, OutOfMemory

_T = TypeVar("_T")
_W = TypeVar("_W", bound=Work)


def whose_turn(rows: Iterable[Row], limit: Callable[[Hashable], int]) -> list[Row]:
    """The rows to take a step further now: those of one group, as many as ``limit`` inputs allow.

    The group is the one with the row that has had the least of the device's time. Each forward's time is shared out to
    its rows, so that rows get equal shares of the device, by their priorities, whatever their sizes: many cheap
    forwards go by for each dear one, and a large image never holds up small ones for longer than one forward. Nor do
    small ones starve it, however many follow: newcomers begin level with the least served row, and of level rows the
    older goes first.
    """
    in_order = sorted((row for row in rows if row.work is not None), key=lambda row: (row.served_s, row.admitted_at))
    groups: dict[Hashable, list[Row]] = {}
    for row in in_order:
        assert row.work is not None
        groups.setdefault(row.work.group_key, []).append(row)
    first = groups[next(iter(groups))]
    return _up_to(limit(first[0].sort), first)


def _up_to(inputs: int, rows: Sequence[Row]) -> list[Row]:
    """The first of ``rows`` with ``inputs`` together, but at least one row."""
    taken, total = list(rows[:1]), rows[0].work.inputs if rows[0].work else 0
    for row in rows[1:]:
        total += row.work.inputs if row.work else 0
        if total > inputs:
            break
        taken.append(row)
    return taken


def divided(batch: Sequence[_T], count: int) -> list[Sequence[_T]]:
    """``batch`` in ``count`` parts of nearly the same number of rows, the order kept."""
    bounds = [len(batch) * part // count for part in range(count + 1)]
    return [batch[begin:end] for begin, end in pairwise(bounds)]


def predict(batch: Sequence[_W], on_memory: Callable[[int], None]) -> list[torch.Tensor | JobFailure]:
    """The model's output for each piece of work, from one forward for all of them.

    A forward that fails is tried again in halves, so that only a row that fails alone fails. ``on_memory`` is told how
    many inputs were too many for the device's memory.
    """
    outputs = attempt(lambda: batch[0].forward(batch))
    if not isinstance(outputs, JobFailure):
        return outputs
    if len(batch) == 1:
        return [outputs]
    if isinstance(outputs, OutOfMemory):
        on_memory(sum(each.inputs for each in batch))
        release_memory(batch[0].device)
    half = len(batch) // 2
    return predict(batch[:half], on_memory) + predict(batch[half:], on_memory)
