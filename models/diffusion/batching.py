"""Forwards and steps of batches: how a batch is split, and how it is retried in halves when it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import torch

from models.diffusion.failures import attempt
from models.diffusion.work import Work
from models.errors import JobFailure, OutOfMemory

T = TypeVar("T")
W = TypeVar("W", bound=Work[object])


def split(batch: Sequence[T], count: int) -> list[Sequence[T]]:
    """Split ``batch`` into ``count`` parts of nearly equal length, in order."""
    bounds = [len(batch) * part // count for part in range(count + 1)]
    return [batch[start:end] for start, end in pairwise(bounds)]


def predict(
    batch: Sequence[W], free_memory: Callable[[], bool], on_out_of_memory: Callable[[int], None]
) -> list[torch.Tensor | JobFailure]:
    """Run one forward for ``batch`` and return the model's output for each piece of work.

    A forward that fails is retried in halves, so that only the pieces of work fail that fail alone.

    Args:
        free_memory: called when a forward did not fit into the device's memory; returns whether anything was dropped,
            in which case the same forward is tried again.
        on_out_of_memory: called with the number of inputs of each forward that did not fit although nothing more could
            be dropped.
    """
    outputs = attempt(lambda: batch[0].forward(batch))
    if not isinstance(outputs, JobFailure):
        return outputs
    if isinstance(outputs, OutOfMemory):
        if free_memory():
            return predict(batch, free_memory, on_out_of_memory)
        on_out_of_memory(sum(work.inputs for work in batch))
    if len(batch) == 1:
        return [outputs]
    half = len(batch) // 2
    return [
        *predict(batch[:half], free_memory, on_out_of_memory),
        *predict(batch[half:], free_memory, on_out_of_memory),
    ]


def advance(batch: Sequence[W], outputs: Sequence[torch.Tensor]) -> Sequence[JobFailure | None]:
    """Take one step of each piece of work in ``batch``, with its output; gives each one's failure, or ``None``."""
    if not batch:
        return []
    failures = attempt(lambda: batch[0].advance(batch, outputs))
    return [failures] * len(batch) if isinstance(failures, JobFailure) else failures
