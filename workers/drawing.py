"""The middle stage: the one thread that owns the device turns the engine, row by row in, image by image out."""

from __future__ import annotations

import logging
import queue
import time

from redis.exceptions import RedisError

from models.diffusion.engine import Engine
from models.diffusion.events import Event, Failed, Finished, Loading, Progressed
from models.diffusion.work import Task
from models.errors import DeadlineExceeded
from workers.batch_worker import BatchWorker
from workers.finish import Finish
from workers.images import ImageLoader
from workers.prepare import Prepare
from workers.report import Report
from workers.rewriting import Rewriting
from workers.slots import Slot

log = logging.getLogger(__name__)

IDLE_WAIT_S = 0.25
DRAIN_S = 3.0
"""How long a worker that stops goes on drawing before it hands its jobs back."""


class Drawing:
    """Joins the stages; :meth:`run` is the worker's life."""

    def __init__(
        self,
        worker: BatchWorker,
        engine: Engine,
        loader: ImageLoader,
        rewriting: Rewriting,
        finish: Finish,
        job_timeout_s: float,
    ) -> None:
        self._worker, self._engine, self._finish = worker, engine, finish
        self._job_timeout_s = job_timeout_s
        self._prepare = Prepare(worker, finish, loader, rewriting, lambda: engine.waiting)
        self._report = Report(worker)
        self._stopping = False

    def request_stop(self) -> None:
        """Let :meth:`run` end soon: finish what can be finished in three seconds, hand back the rest."""
        self._stopping = True

    def run(self) -> None:
        """Draw until asked to stop."""
        self._prepare.start()
        self._report.start()
        while not self._stopping:
            self._turn()
        self._drain()

    def _turn(self) -> None:
        self._join_ready()
        self._drop_unwanted()
        for event in self._engine.step():
            self._handle(event)

    def _join_ready(self) -> None:
        wait_s = IDLE_WAIT_S if self._engine.is_idle else 0.0
        while True:
            try:
                slot = self._prepare.ready.get(timeout=wait_s) if wait_s else self._prepare.ready.get_nowait()
            except queue.Empty:
                return
            if not slot.is_ending:  # canceled before it could join
                record = slot.record
                task = Task(kind=record.kind, params=record.drawn_params, catalog=slot.catalog, images=slot.images)
                self._engine.add_row(slot.row_id, task)
            wait_s = 0.0

    def _drop_unwanted(self) -> None:
        for slot in self._worker.slots:
            if slot.is_ending:
                continue
            if slot.row_id in self._worker.canceled:
                self._drop(slot)
                self._finish.cancel(slot)
            elif slot.held_s > self._job_timeout_s and slot.row_id in self._engine.row_ids:
                self._drop(slot)
                self._finish.fail(slot, DeadlineExceeded(f"not drawn within {self._job_timeout_s:g} s"))

    def _drop(self, slot: Slot) -> None:
        slot.is_ending = True
        self._engine.cancel_row(slot.row_id)

    def _handle(self, event: Event) -> None:
        slot = self._worker.slot(event.row_id)
        if slot is None or slot.is_ending:
            return
        match event:
            case Loading():
                self._report.note_loading(slot, event.name)
            case Progressed():
                self._report.note(slot, event.step, event.steps, event.preview)
            case Finished():
                slot.is_ending = True
                self._finish.succeed(slot, event)
            case Failed():
                slot.is_ending = True
                self._finish.fail(slot, event.failure)

    def _drain(self) -> None:
        self._prepare.stop()
        deadline = time.monotonic() + DRAIN_S
        while self._worker.slots and time.monotonic() < deadline:
            self._turn()
        self._finish.close()  # first: what is drawn must not be handed back
        for slot in self._worker.slots:
            log.info("handing back job %s", slot.job_id)
            try:
                self._worker.give_back(slot)
            except RedisError as error:
                log.warning("job %s is left to be delivered anew: %s", slot.job_id, error)
