"""The engine: rows join and leave at any tick, and each tick takes one group of rows one step further."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL.Image import Image

from models.catalog import ModelSpec
from models.diffusion.batching import predict, whose_turn
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.decoding import draw
from models.diffusion.events import Drawn, Event, Failed, Progressed
from models.diffusion.failures import attempt
from models.diffusion.row import Row, admit
from models.diffusion.shelf import Shelf
from models.errors import JobFailure, OutOfMemory
from models.params import Txt2ImgParams


@dataclass(frozen=True)
class _Waiting:
    """A row to be."""

    row_id: str
    params: Txt2ImgParams
    spec: ModelSpec


class Engine:
    """Continuous batching of text-to-image rows at the level of steps, on one device.

    The law: a row's picture does not depend on the rows beside it. Alone it is the very picture that the family's
    plain diffusers pipeline draws with the same seed; in company it is the same within 1/255 on a CPU in float32.
    What fails in one row fails that row only. One thread owns the engine and calls :meth:`tick`; :meth:`join` and
    :meth:`leave` may be called from any thread, also while a tick runs.

    Args:
        load: gives the checkpoint of a model; called by :meth:`tick`, and rows wait for it.
        row_limit: how many rows are drawn at once; more wait.
        preview_every: steps of a row between its previews; 0 is never.
    """

    def __init__(self, load: Callable[[ModelSpec], Checkpoint], *, row_limit: int = 8, preview_every: int = 5) -> None:
        if row_limit < 1 or preview_every < 0:
            raise ValueError(f"row_limit {row_limit} must be at least 1, preview_every {preview_every} at least 0")
        self.row_limit = row_limit
        self._shelf = Shelf(load)
        self._preview_every = preview_every
        self._waiting: dict[str, _Waiting] = {}
        self._rows: dict[str, Row] = {}

    @property
    def row_ids(self) -> tuple[str, ...]:
        """All rows, those that wait for admission included, the oldest first."""
        return (*self._rows, *self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._rows and not self._waiting

    @property
    def room(self) -> int:
        """How many more rows could be drawn at once."""
        return max(0, self.row_limit - len(self._rows) - len(self._waiting))

    def load(self, spec: ModelSpec) -> None:
        """Load the checkpoint of ``spec`` now, so that its first row need not wait for it.

        Raises:
            ModelUnavailable, OutOfMemory: it cannot be loaded.
        """
        self._shelf.get(spec)

    def join(self, row_id: str, params: Txt2ImgParams, spec: ModelSpec) -> None:
        """Let a row wait for its admission, which is at the next tick if there is room.

        Raises:
            ValueError: there is a row of that id already.
        """
        if row_id in self._rows or row_id in self._waiting:
            raise ValueError(f"there is a row {row_id!r} already")
        self._waiting[row_id] = _Waiting(row_id, params, spec)

    def leave(self, row_id: str) -> None:
        """Cancel a row at once; an unknown one is no error, for it may just have finished. No later tick reports it."""
        self._waiting.pop(row_id, None)
        self._rows.pop(row_id, None)

    @torch.inference_mode()
    def tick(self) -> list[Event]:
        """Admit rows while there is room, take the group whose turn it is one step further, draw what is done."""
        events = list(self._admit())
        if self._rows:
            rows = whose_turn(tuple(self._rows.values()))
            events += self._step(rows)
            events += self._draw(rows)
        return events

    def _admit(self) -> Iterator[Event]:
        for waiting in list(self._waiting.values())[: self.row_limit - len(self._rows)]:
            began_at = time.monotonic()
            row = self._begin(waiting)
            if self._waiting.pop(waiting.row_id, None) is None:
                continue  # left while it was being admitted
            if isinstance(row, JobFailure):
                yield Failed(waiting.row_id, row)
                continue
            row.prepare_s = time.monotonic() - began_at
            row.served_s = min((each.served_s for each in self._rows.values()), default=0.0)
            self._rows[row.row_id] = row

    def _begin(self, waiting: _Waiting) -> Row | JobFailure:
        """The row, or why there is none; without memory, it is tried once more with no idle checkpoint around."""

        def begin() -> Row:
            return admit(waiting.row_id, waiting.params, waiting.spec, self._shelf.get(waiting.spec))

        row = attempt(begin)
        used = [each.checkpoint for each in self._rows.values()]
        if isinstance(row, OutOfMemory) and self._shelf.drop_all_but(used, waiting.spec):
            row = attempt(begin)
        return row

    def _step(self, rows: Sequence[Row]) -> Iterator[Event]:
        began_at = time.monotonic()
        for row, output in zip(rows, predict(rows), strict=True):
            if row.row_id in self._rows:
                yield self._advance(row, output)
        share_s = (time.monotonic() - began_at) / len(rows)
        for row in rows:
            row.served_s += share_s

    def _advance(self, row: Row, output: torch.Tensor | JobFailure) -> Event:
        if isinstance(output, JobFailure):
            return self._fail(row, output)
        preview = attempt(lambda: self._take_step(row, output))
        if isinstance(preview, JobFailure):
            return self._fail(row, preview)
        return Progressed(row.row_id, row.step, row.steps, preview)

    def _take_step(self, row: Row, output: torch.Tensor) -> Image | None:
        prediction = row.guide(output)
        preview = self._preview(row, prediction)
        row.advance(prediction)
        return preview

    def _preview(self, row: Row, prediction: torch.Tensor) -> Image | None:
        """A preview if one is due after this step; a preview that fails is none."""
        taken = row.step + 1
        if not self._preview_every or taken % self._preview_every or taken == row.steps:
            return None
        preview = attempt(lambda: row.preview(prediction))
        return None if isinstance(preview, JobFailure) else preview

    def _draw(self, rows: Iterable[Row]) -> Iterator[Event]:
        done = [row for row in rows if row.is_done and row.row_id in self._rows]
        if not done:
            return
        began_at = time.monotonic()
        pictures = draw(done)
        decode_s = time.monotonic() - began_at
        for row, picture in zip(done, pictures, strict=True):
            if self._rows.pop(row.row_id, None) is None:
                continue  # left while it was being decoded
            if isinstance(picture, JobFailure):
                yield Failed(row.row_id, picture)
            else:
                yield Drawn(row.row_id, picture, row.prepare_s, row.denoised_at - row.admitted_at, decode_s)

    def _fail(self, row: Row, failure: JobFailure) -> Failed:
        self._rows.pop(row.row_id, None)
        return Failed(row.row_id, failure)
