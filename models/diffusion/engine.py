"""The engine: rows join and leave at any tick, and each tick takes one group of rows one step further."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from PIL.Image import Image

from models.catalog.catalog import ModelSpec
from models.diffusion.batching import divided, predict, whose_turn
from models.diffusion.capacity import Capacity, Forward
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.events import Drawn, Event, Failed, Loading, Progressed
from models.diffusion.failures import attempt
from models.diffusion.inline import Inline
from models.diffusion.loads import checkpoint_load
from models.diffusion.plans import Tools, plan
from models.diffusion.row import Row
from models.diffusion.shelf import Shelf
from models.diffusion.work import Load, Task, Work
from models.errors import JobFailure, OutOfMemory

CPU = torch.device("cpu")
_WAIT_S = 0.05
"""How long a tick with nothing to run waits for something that is being loaded or prepared."""


@dataclass(frozen=True)
class _Image:
    """What a plan returned."""

    image: Image


_Next = Load | Work | _Image | JobFailure


class Engine:
    """Continuous batching at the level of steps, on one device.

    The law: a row's image does not depend on the rows beside it. Alone it is the very image that the family's
    plain diffusers pipeline draws with the same seed; in company it is the same within 1/255 on a CPU in float32.
    What fails in one row fails that row only. One thread owns the engine and calls :meth:`tick`; :meth:`join` and
    :meth:`leave` may be called from any thread, also while a tick runs.

    On a GPU, prompts are encoded and images decoded in a thread beside the ticks; on a CPU that thread would only
    take the cores from them. Checkpoints are always loaded in a thread of their own.

    Args:
        load: gives the checkpoint of a model.
        device: where it all runs.
        capacity: how many rows are drawn at once; more wait.
        preview_every: steps of a row between its previews; 0 is never.
        budget_bytes: how much of what was loaded is kept when no row uses it; ``None`` is all that memory holds.
    """

    def __init__(
        self,
        load: Callable[[ModelSpec], Checkpoint],
        *,
        device: torch.device = CPU,
        capacity: Capacity | None = None,
        preview_every: int = 5,
        budget_bytes: int | None = None,
    ) -> None:
        if preview_every < 0:
            raise ValueError(f"preview_every must be at least 0, not {preview_every}")
        self.capacity = capacity or Capacity()
        self._load = load
        self._preview_every = preview_every
        self._shelf = Shelf(device, budget_bytes)
        self._shelf.keep(lambda: {key for row in list(self._rows.values()) for key in row.keys})
        self._aside: Executor = ThreadPoolExecutor(1, "aside") if device.type == "cuda" else Inline()
        self._tools = Tools(load, device)
        self._waiting: dict[str, Task] = {}
        self._rows: dict[str, Row] = {}
        self._pending: list[tuple[Future[Any], Callable[[Any], Iterator[Event]]]] = []

    # What others see and ask for

    @property
    def row_ids(self) -> tuple[str, ...]:
        """All rows, those that wait for admission included, the oldest first."""
        return (*self._rows, *self._waiting)

    @property
    def waiting(self) -> int:
        """How many rows wait for their admission."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._rows and not self._waiting

    @property
    def loaded(self) -> tuple[Hashable, ...]:
        """The keys of what is loaded; :func:`~models.diffusion.loads.weights_of` gives a model's."""
        return self._shelf.loaded

    def load(self, spec: ModelSpec) -> Checkpoint:
        """Load the checkpoint of ``spec`` now, so that its first row need not wait for it.

        Raises:
            ModelUnavailable, OutOfMemory: it cannot be loaded.
        """
        loaded = self._shelf.request(checkpoint_load(spec, self._load)).result()
        if isinstance(loaded, JobFailure):
            raise loaded
        checkpoint: Checkpoint = loaded
        return checkpoint

    def join(self, row_id: str, task: Task) -> None:
        """Let a row wait for its admission, which is at the next tick if there is room.

        Raises:
            ValueError: there is a row of that id already.
        """
        if row_id in self._rows or row_id in self._waiting:
            raise ValueError(f"there is a row {row_id!r} already")
        self._waiting[row_id] = task

    def leave(self, row_id: str) -> None:
        """Cancel a row at once; an unknown one is no error, for it may just have finished. No later tick reports it."""
        self._waiting.pop(row_id, None)
        self._rows.pop(row_id, None)

    def close(self) -> None:
        """End the engine's threads; whatever is in progress is lost."""
        self._shelf.close()
        self._aside.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def tick(self) -> list[Event]:
        """Admit rows while there is room, and take the group whose turn it is one step further."""
        events = [*self._admit(), *self._collect()]
        runnable = [row for row in list(self._rows.values()) if row.is_runnable]
        if runnable:
            rows = whose_turn(runnable, self.capacity.inputs_of)
            events += self._step(rows)
            events += self._finish([row for row in rows if self._is_done(row)])
        elif self._pending:
            wait([future for future, _ in self._pending], _WAIT_S, FIRST_COMPLETED)
        return [*events, *self._collect()]

    # Admission and preparation

    def _admit(self) -> Iterator[Event]:
        by_priority = sorted(list(self._waiting.items()), key=lambda item: -item[1].params.priority)
        for row_id, task in by_priority:
            row, others = Row(row_id, task, plan(task, self._tools)), list(self._rows.values())
            if not self.capacity.admits(row, others) or self._waiting.pop(row_id, None) is None:
                continue  # no room for it, or it has just left
            row.served_s = min((each.served_s for each in others), default=0.0)
            self._rows[row_id] = row
            yield from self._go_on(row, None)

    def _go_on(self, row: Row, outcome: Any) -> Iterator[Event]:
        """Send the row's plan what came of its last wish, and see to its next one."""
        began_at = time.monotonic()

        def handle(wish: _Next) -> Iterator[Event]:
            row.prepare_s += time.monotonic() - began_at
            return self._fulfil(row, wish)

        yield from self._await(self._aside.submit(partial(_next, row, outcome)), handle)

    def _fulfil(self, row: Row, wish: _Next) -> Iterator[Event]:
        if not self._holds(row):
            return  # left while it was prepared
        match wish:
            case JobFailure():
                yield from self._retry_or_fail(row, wish)
            case _Image(image):
                del self._rows[row.row_id]
                yield Drawn(row.row_id, image, row.prepare_s, row.denoise_s, row.finish_s)
            case Load():
                yield from self._fetch(row, wish)
            case _:
                row.work, row.began_at = wish, time.monotonic()

    def _retry_or_fail(self, row: Row, failure: JobFailure) -> Iterator[Event]:
        """Without memory, the row is begun once more with nothing around that no row uses."""
        if isinstance(failure, OutOfMemory):
            self._tools.encodings.clear()
        if isinstance(failure, OutOfMemory) and not row.steps_done and self._shelf.drop_unused():
            row.plan = plan(row.task, self._tools)
            yield from self._go_on(row, None)
        else:
            yield self._fail(row, failure)

    def _fetch(self, row: Row, wish: Load) -> Iterator[Event]:
        row.keys.add(wish.key)
        future = self._shelf.request(wish)
        began_at = time.monotonic()
        if not future.done():
            yield Loading(row.row_id, wish.name)

        def handle(loaded: Any) -> Iterator[Event]:
            row.prepare_s += time.monotonic() - began_at
            if not self._holds(row):
                return
            if isinstance(loaded, JobFailure):
                yield self._fail(row, loaded)
            else:
                yield from self._go_on(row, loaded)

        yield from self._await(future, handle)

    # Steps

    def _step(self, rows: Sequence[Row]) -> Iterator[Event]:
        began_at = time.monotonic()
        batch = [row.work for row in rows if row.work is not None]
        forward = Forward.of(batch)
        on_memory = partial(self.capacity.note_too_many, forward.sort)
        parts = divided(batch, self.capacity.parts(forward))
        outputs = [output for part in parts for output in predict(part, on_memory)]
        self.capacity.note(forward, time.monotonic() - began_at, len(parts))
        for row, output in zip(rows, outputs, strict=True):
            if self._holds(row):
                yield self._advance(row, output)
        share_s = (time.monotonic() - began_at) / len(rows)
        for row in rows:
            row.serve(share_s)

    def _advance(self, row: Row, output: torch.Tensor | JobFailure) -> Event:
        work = row.work
        assert work is not None
        if isinstance(output, JobFailure):
            return self._fail(row, output)
        preview = self._preview(work, output)
        moved = attempt(lambda: work.advance(output))
        if isinstance(moved, JobFailure):
            return self._fail(row, moved)
        return Progressed(row.row_id, row.steps_done + work.step, row.steps_done + work.steps, preview)

    def _preview(self, work: Work, output: torch.Tensor) -> Image | None:
        """A preview if one is due after this step; a preview that fails is none."""
        taken = work.step + 1
        if not self._preview_every or taken % self._preview_every or taken == work.steps:
            return None
        preview = attempt(lambda: work.preview(output))
        return None if isinstance(preview, JobFailure) else preview

    def _is_done(self, row: Row) -> bool:
        return self._holds(row) and row.work is not None and row.work.step == row.work.steps

    def _finish(self, rows: Sequence[Row]) -> Iterator[Event]:
        """Let the rows' finished pieces of work come to something, all of them together."""
        if not rows:
            return
        batch = [row.work for row in rows if row.work is not None]
        began_at = time.monotonic()
        for row, work in zip(rows, batch, strict=True):
            row.denoise_s += began_at - row.began_at
            row.steps_done += work.steps
            row.work = None

        def handle(outcomes: Any) -> Iterator[Event]:
            if isinstance(outcomes, JobFailure):
                outcomes = [outcomes] * len(rows)
            for row, outcome in zip(rows, outcomes, strict=True):
                row.finish_s += time.monotonic() - began_at
                yield from self._hand_on(row, outcome)

        yield from self._await(self._aside.submit(partial(_outcomes, batch)), handle)

    def _hand_on(self, row: Row, outcome: Any) -> Iterator[Event]:
        if not self._holds(row):
            return  # left while it was finished
        if isinstance(outcome, JobFailure):
            yield self._fail(row, outcome)
        else:
            yield from self._go_on(row, outcome)

    def _holds(self, row: Row) -> bool:
        """Whether ``row`` has not left; another of the same id may have come since."""
        return self._rows.get(row.row_id) is row

    def _fail(self, row: Row, failure: JobFailure) -> Failed:
        self._rows.pop(row.row_id, None)
        return Failed(row.row_id, failure)

    # What is done beside the ticks

    def _await(self, future: Future[Any], handle: Callable[[Any], Iterator[Event]]) -> Iterator[Event]:
        """Handle the result now if it is there, else at the tick at which it is."""
        if future.done():
            yield from handle(future.result())
        else:
            self._pending.append((future, handle))

    def _collect(self) -> Iterator[Event]:
        ready = [each for each in self._pending if each[0].done()]
        self._pending = [each for each in self._pending if not each[0].done()]
        for future, handle in ready:
            yield from handle(future.result())


@torch.inference_mode()
def _next(row: Row, outcome: Any) -> _Next:
    """What the row's plan wants next; any exception as a failure."""

    def send() -> _Next:
        try:
            return row.plan.send(outcome)
        except StopIteration as end:
            return _Image(end.value)

    return attempt(send)


@torch.inference_mode()
def _outcomes(batch: Sequence[Work]) -> list[Any] | JobFailure:
    return attempt(lambda: batch[0].finish(batch))
