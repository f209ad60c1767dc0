"""When previews are made: at every few steps, of rows that somebody watches, and those of one step together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import torch
from PIL.Image import Image

from models.diffusion.failures import attempt
from models.diffusion.row import Row
from models.diffusion.scheduler import current_work
from models.diffusion.side_work import SideWork
from models.diffusion.work import Work
from models.errors import JobFailure


class Previews:
    """Makes the previews of rows as side work: on a GPU, a row's preview is shown a step or more after it was due.

    Args:
        every: the number of steps between two previews of a row; 0 turns previews off.

    Raises:
        ValueError: ``every`` is negative.
    """

    def __init__(self, every: int, side_work: SideWork) -> None:
        if every < 0:
            raise ValueError(f"preview_every must be at least 0, not {every}")
        self._every, self._side_work = every, side_work

    def begin(self, rows: Sequence[Row], outputs: Sequence[torch.Tensor | JobFailure]) -> None:
        """Make the previews that are due, from the model's ``outputs`` for the next steps of ``rows``, one group."""
        expected: dict[Row, torch.Tensor] = {}
        for row, output in zip(rows, outputs, strict=True):
            if not isinstance(output, JobFailure) and self._is_due(row):
                found = attempt(partial(current_work(row).expect, output))
                if isinstance(found, torch.Tensor):
                    expected[row] = found
        if expected:
            self._make(current_work(next(iter(expected))), expected)

    def take(self, row: Row) -> Image | None:
        """The finished preview of ``row`` that was not taken yet; one that failed is left out."""
        if row.preview is None or not row.preview.done():
            return None
        made, row.preview = row.preview.result(), None
        return None if isinstance(made, JobFailure) else made

    def _is_due(self, row: Row) -> bool:
        """Whether the next step of ``row`` shows a preview; not while the last one is still being made."""
        work = row.work
        if not self._every or work is None or row.preview is not None:
            return False
        taken = work.step + 1
        return taken % self._every == 0 and taken < work.steps and row.is_watched()

    def _make(self, work: Work[Any], expected: dict[Row, torch.Tensor]) -> None:
        futures: list[Future[Image | JobFailure]] = [Future() for _ in expected]
        for row, future in zip(expected, futures, strict=True):
            row.preview = future
        latents = list(expected.values())
        self._side_work.answer(futures, lambda: work.preview(latents))
