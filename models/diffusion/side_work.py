"""Side work: what rows wait for between their steps, that is preparation, model loads and finishing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial

import torch

from models.diffusion.failures import attempt
from models.diffusion.model_cache import ModelCache
from models.diffusion.row import AwaitingLoad, Finishing, Preparing, Row
from models.diffusion.scheduler import current_work
from models.diffusion.work import LoadRequest, Plan, PlanEnd, PlanStep, Work
from models.errors import DeviceLost, JobFailure, OutOfMemory

WAIT_S = 0.05
"""How long one call of :meth:`SideWork.wait` waits at most."""


class SideWork:
    """Starts side work, which puts a row into a waiting state, and tells which rows can be resumed.

    On a GPU, side work runs in a thread while the device computes. On a CPU it runs at once in the caller's thread,
    since a second thread would only compete for the same cores. Models are always loaded in the model cache's thread.
    """

    def __init__(self, device: torch.device, models: ModelCache) -> None:
        self._models = models
        self._executor = ThreadPoolExecutor(1, "side-work") if device.type == "cuda" else None
        self._rows: list[Row] = []
        """Rows that wait for a future."""

    def prepare(self, row: Row, outcome: object) -> None:
        """Resume the plan of ``row`` with the outcome of its last request; ``None`` starts the plan."""
        future: Future[PlanStep] = Future()
        row.enter(Preparing(future))
        self._run(partial(_resume_plan, row.plan, outcome, future))

    def load(self, row: Row, request: LoadRequest[object]) -> None:
        """Load a model for ``row``."""
        row.keys |= {request.key}
        row.enter(AwaitingLoad(self._models.request(request)))

    def finish(self, rows: Sequence[Row]) -> None:
        """Compute the outcomes of the works of ``rows`` together; all have taken their last step."""
        batch = [current_work(row) for row in rows]
        futures: list[Future[object]] = [Future() for _ in rows]
        for row, work, future in zip(rows, batch, futures, strict=True):
            row.steps_done += work.steps
            row.steps_ahead = 0
            row.enter(Finishing(future))
        self._run(partial(_finish, batch, futures, self._models))

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
        """End the thread; unfinished side work is lost."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def _run(self, work: Callable[[], None]) -> None:
        if self._executor is None:
            work()
        else:
            self._executor.submit(work)


@torch.inference_mode()
def _resume_plan(plan: Plan, outcome: object, future: Future[PlanStep]) -> None:
    def resume() -> PlanStep:
        try:
            return plan.send(outcome)
        except StopIteration as end:
            return PlanEnd(end.value)

    try:
        future.set_result(attempt(resume))
    except DeviceLost as error:  # raised again in the engine's thread
        future.set_exception(error)


@torch.inference_mode()
def _finish(batch: Sequence[Work[object]], futures: Sequence[Future[object]], models: ModelCache) -> None:
    """Compute the outcomes, once more if the memory was full and some could be freed."""
    try:
        outcomes = _outcomes(batch)
        if any(isinstance(outcome, OutOfMemory) for outcome in outcomes) and models.free_memory():
            outcomes = _outcomes(batch)
    except DeviceLost as error:
        for future in futures:
            future.set_exception(error)
    else:
        for future, outcome in zip(futures, outcomes, strict=True):
            future.set_result(outcome)


def _outcomes(batch: Sequence[Work[object]]) -> Sequence[object]:
    outcomes = attempt(lambda: batch[0].finish(batch))
    return [outcomes] * len(batch) if isinstance(outcomes, JobFailure) else outcomes
