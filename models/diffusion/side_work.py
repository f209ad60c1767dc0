"""Side work: what rows wait for between their steps, that is preparation, model loads and finishing; and previews."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

import torch

from models.diffusion.events import Loading
from models.diffusion.failures import attempt
from models.diffusion.model_cache import ModelCache
from models.diffusion.row import AwaitingLoad, Finishing, OnHost, Preparing, Row
from models.diffusion.scheduler import current_work
from models.diffusion.streams import Streams
from models.diffusion.work import HostWork, LoadRequest, Plan, PlanEnd, PlanStep, Work
from models.errors import DeviceLost, JobFailure, OutOfMemory

T = TypeVar("T")

WAIT_S = 0.05
"""How long one call of :meth:`SideWork.wait` waits at most."""
HOST_THREADS = 2
"""How many rows have work for the CPU alone done at the same time: a slow one holds up no other."""


class SideWork:
    """Starts side work, which puts a row into a waiting state, and tells which rows can be resumed.

    On a GPU, side work runs in a thread with a stream of its own, beside the steps (:mod:`models.diffusion.streams`);
    work for the CPU alone runs in further threads, so that it holds up no encoding and decoding. On a CPU all of it
    runs at once in the caller's thread, since a second thread would only compete for the same cores; only what may take
    seconds runs in those threads too, so that the other rows take steps meanwhile. Models are always loaded in the
    model cache's thread.
    """

    def __init__(self, streams: Streams, models: ModelCache) -> None:
        self._streams, self._models = streams, models
        self._device_thread = ThreadPoolExecutor(1, "side-work") if streams.has_side else None
        self._host_threads = ThreadPoolExecutor(HOST_THREADS, "host-work")
        self._count_lock = threading.Lock()
        self._begun = self._ended = 0
        self._rows: list[Row] = []
        """Rows that wait for a future."""

    @property
    def begun(self) -> int:
        """How many pieces of work were given to the side stream so far."""
        return self._begun

    @property
    def is_computing(self) -> bool:
        """Whether the side stream has work now."""
        return self._ended < self._begun

    def prepare(self, row: Row, outcome: object) -> None:
        """Resume the plan of ``row`` with the outcome of its last request; ``None`` starts the plan."""
        future: Future[PlanStep] = Future()
        row.enter(Preparing(future))
        self._compute(partial(self._resume_plan, row.plan, outcome, future))

    def load(self, row: Row, request: LoadRequest[object]) -> None:
        """Load a model for ``row``."""
        loading = self._models.request(request)  # before the row counts as one that uses the model
        row.keys |= {request.key}
        row.enter(AwaitingLoad(loading, request))

    def loading(self) -> Iterator[Loading]:
        """Of the watched rows that wait for a model: how far that is, if it has changed since it was told."""
        for row in self._rows:
            if isinstance(row.state, AwaitingLoad) and not row.is_ready:
                earlier = row.told_loading
                event = self.loading_of(row, row.state.request)
                if event != earlier:
                    yield event

    def loading_of(self, row: Row, request: LoadRequest[object]) -> Loading:
        """The event that ``row`` waits for the model of ``request``."""
        progress = self._models.download_of(request.key)
        numbers = (None, None) if progress is None else (progress.done_bytes, progress.total_bytes)
        row.told_loading = Loading(row.row_id, request.name, *numbers)
        return row.told_loading

    def compute_on_host(self, row: Row, work: HostWork[object]) -> None:
        """Do ``work``, which uses the CPU alone, for ``row``."""
        future: Future[object] = Future()
        row.enter(OnHost(future))
        has_thread = self._streams.has_side or work.is_long
        _run(self._host_threads if has_thread else None, partial(_set_result, future, work.compute))

    def finish(self, rows: Sequence[Row]) -> None:
        """Compute the outcomes of the works of ``rows`` together; all have taken their last step."""
        batch = [current_work(row) for row in rows]
        futures: list[Future[object]] = [Future() for _ in rows]
        for row, work, future in zip(rows, batch, futures, strict=True):
            row.count_steps(work)
            row.enter(Finishing(future, work))
        self.answer(futures, lambda: self._outcomes(batch))

    def answer(self, futures: Sequence[Future[Any]], compute: Callable[[], Sequence[object] | JobFailure]) -> None:
        """Set ``futures`` to what ``compute`` returns: one result for each, or one failure for all.

        ``compute`` may use what the calling thread has given to its stream so far, and copies its results to the host.
        """
        mark = self._streams.mark()

        def compute_beside() -> Sequence[object] | JobFailure:
            with self._streams.beside(mark):
                return compute()

        self._compute(partial(_answer, futures, compute_beside))

    def watch(self, row: Row) -> None:
        """Include ``row``, which waits for side work, in :meth:`take_ready`."""
        self._rows.append(row)

    def take_ready(self) -> list[Row]:
        """The watched rows whose side work is done; they are no longer watched."""
        if not self._rows:
            return []
        ready = [row for row in self._rows if row.is_ready]
        self._rows = [row for row in self._rows if row not in ready]
        return ready

    def wait(self) -> None:
        """Wait, for a short time at most, until the side work of a watched row is done."""
        futures = [row.pending for row in self._rows if row.pending is not None]
        if futures:
            wait(futures, WAIT_S, FIRST_COMPLETED)

    def close(self) -> None:
        """End the threads; unfinished side work is lost."""
        self._host_threads.shutdown(cancel_futures=True)
        if self._device_thread is not None:
            self._device_thread.shutdown(cancel_futures=True)

    def _compute(self, work: Callable[[], None]) -> None:
        """Run ``work``, which uses the side stream."""
        with self._count_lock:
            self._begun += 1
        _run(self._device_thread, partial(self._computed, work))

    def _computed(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._ended += 1

    def _resume_plan(self, plan: Plan, outcome: object, future: Future[PlanStep]) -> None:
        _set_result(future, partial(self._resumed, plan, outcome))

    def _resumed(self, plan: Plan, outcome: object) -> PlanStep:
        with self._streams.beside(None):
            step = _send(plan, outcome)
            self._streams.hand_over(step)
            return step

    def _outcomes(self, batch: Sequence[Work[object]]) -> Sequence[object] | JobFailure:
        """The outcomes of ``batch``, computed once more if the memory was full and some could be freed."""
        outcomes = attempt(lambda: batch[0].finish(batch))
        found = [outcomes] if isinstance(outcomes, JobFailure) else outcomes
        if any(isinstance(outcome, OutOfMemory) for outcome in found) and self._models.free_memory():
            outcomes = attempt(lambda: batch[0].finish(batch))
        return outcomes


def _run(executor: Executor | None, work: Callable[[], None]) -> None:
    """Run ``work`` in ``executor``, or at once if there is none."""
    if executor is None:
        _without_gradients(work)
    else:
        executor.submit(_without_gradients, work)


@torch.inference_mode()
def _without_gradients(work: Callable[[], None]) -> None:
    work()


def _set_result(future: Future[Any], compute: Callable[[], object]) -> None:
    """Set ``future`` to what ``compute`` returns, or to its failure."""
    try:
        result = attempt(compute)
    except DeviceLost as error:  # raised again in the engine's thread
        future.set_exception(error)
    else:
        future.set_result(result)


def _send(plan: Plan, outcome: object) -> PlanStep:
    try:
        return plan.send(outcome)
    except StopIteration as end:
        return PlanEnd(end.value)


def _answer(futures: Sequence[Future[Any]], compute: Callable[[], Sequence[object] | JobFailure]) -> None:
    try:
        results = attempt(compute)
    except DeviceLost as error:  # raised again in the engine's thread
        for future in futures:
            future.set_exception(error)
        return
    for number, future in enumerate(futures):
        future.set_result(results if isinstance(results, JobFailure) else results[number])
