"""A row: one job in the engine, with its plan, the piece of work at hand and its share of the device."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass, field

from models.diffusion.work import Plan, Task, Work
from models.jobs.params import DrawParams

SHARE_BASE = 4.0
"""How many times the share of the device each step of priority is worth."""


def expected_sort(task: Task) -> Hashable:
    """What decides the cost of the forwards of ``task``, before any of its work is there."""
    params = task.params
    if not isinstance(params, DrawParams):
        return task.kind
    size = task.catalog[params.model].drawn_size(params.width, params.height)
    return drawing_sort(params.model, size, is_plain=not (params.loras or params.controls or params.reuse_interval > 1))


def drawing_sort(model: str, size: tuple[int, int], *, is_plain: bool) -> Hashable:
    """What decides the cost of denoising at ``size``; ``is_plain`` if any backend can do it."""
    return model, size, is_plain


@dataclass(eq=False)
class Row:
    """One job in the engine; times are seconds on the monotonic clock."""

    row_id: str
    task: Task
    plan: Plan
    work: Work | None = None
    """What is at hand; ``None`` while the row is prepared, waits for a checkpoint or is finished."""
    served_s: float = 0.0
    """The row's share of the device's time so far by its priority, counted on from the least served row's."""
    admitted_at: float = field(default_factory=time.monotonic)
    prepare_s: float = 0.0
    denoise_s: float = 0.0
    finish_s: float = 0.0
    began_at: float = 0.0
    """When the work at hand was begun."""
    steps_done: int = 0
    """Steps of the pieces of work that are over."""
    keys: set[Hashable] = field(default_factory=set)
    """Of what was loaded for the row."""

    def serve(self, seconds: float) -> None:
        """Note that the row has had so much of the device's time."""
        self.served_s += seconds / SHARE_BASE**self.task.params.priority

    @property
    def sort(self) -> Hashable:
        """What decides the cost of the row's forwards: that of its work, or of the work that is to be expected."""
        return expected_sort(self.task) if self.work is None else self.work.sort

    @property
    def is_runnable(self) -> bool:
        """Whether a tick can take the row further."""
        return self.work is not None and self.work.step < self.work.steps
