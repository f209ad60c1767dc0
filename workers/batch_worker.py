"""The RQ side of a worker: a BaseWorker that holds several executions at once and keeps them all alive.

RQ's own workers run one job at a time. This one takes a job (``take``), holds it while the drawing loop works, and
then ends it (``succeed``, ``fail``, ``cancel``) or returns it (``give_back``). What became of the job is the ledger's
business; to RQ a job that reached an end, good or bad, was delivered. A worker that dies, or cannot write a job's end,
leaves its execution to expire, and RQ then delivers the job anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.registry import clean_registries
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.utils import now
from rq.worker import BaseWorker

from models.catalog.catalog import Catalog
from models.errors import JobFailure, ModelUnavailable
from models.jobs.params import DrawParams
from models.jobs.records import JobRecord
from models.jobs.results import Image
from service.backbone.ledger import Ledger
from service.backbone.queue import open_queue
from service.backbone.records import CANCEL_CHANNEL
from workers.slots import Slot
from workers.warm import Standing, WarmRouting

log = logging.getLogger(__name__)

EXECUTION_TTL_S = 7
"""An execution that was not refreshed for so long is given to another worker."""
HEARTBEAT_S = 1.5
MAINTENANCE_KEY = "photogram:maintenance"
MAINTENANCE_LOCK_S = 5
STRANDED_S = 3.0
"""A job that lies between queue and worker for so long was dropped by a dying worker."""

_RESCUE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) > 0 then return redis.call('LPUSH', KEYS[2], ARGV[1]) end
return 0
"""


class NoDeathPenalty(BaseDeathPenalty):  # type: ignore[misc]
    """RQ's alarm clock cannot serve several jobs; the drawing loop checks deadlines itself."""

    def setup_death_penalty(self) -> None:
        """Set no alarm."""

    def cancel_death_penalty(self) -> None:
        """Cancel no alarm."""


class BatchWorker(BaseWorker):  # type: ignore[misc]
    """Holds many jobs of the one queue; every public method may be called from any thread."""

    death_penalty_class = NoDeathPenalty

    def __init__(
        self,
        connection: Redis,
        ledger: Ledger,
        name: str,
        catalog: Callable[[], Catalog],
        standing: Callable[[], Standing],
    ) -> None:
        super().__init__(
            [open_queue(connection)], name=name, connection=connection, serializer=JSONSerializer, worker_ttl=60
        )
        self.ledger = ledger
        self.canceled: set[str] = set()
        """The rows that are to stop; the drawing loop takes them out."""
        self._catalog = catalog
        self._warm = WarmRouting(connection, name, standing)
        self._slots: dict[str, Slot] = {}
        self._lock = threading.Lock()
        self._stranded_since: dict[str, float] = {}
        self._rescue = connection.register_script(_RESCUE)

    # Taking and returning jobs

    @property
    def slots(self) -> list[Slot]:
        """The jobs held now."""
        with self._lock:
            return list(self._slots.values())

    def slot(self, row_id: str) -> Slot | None:
        """The slot of that row, if this worker still holds it."""
        with self._lock:
            return self._slots.get(row_id)

    def take(self, timeout_s: int) -> Slot | None:
        """The next job, held from now on; ``None`` if none came in time or it needed no work any more."""
        found = self._dequeue(timeout_s)
        if found is None:
            return None
        job, queue = found
        execution: Execution = self.prepare_execution(job)
        self.prepare_job_execution(job, remove_from_intermediate_queue=True)
        job.started_at = now()
        crashes = self.ledger.start(job.id, execution.id)
        record = self.ledger.read(job.id)
        if crashes is None or record is None:
            self._finalize_success(job, queue, execution, None)
            return None
        return self._hold(record, job, queue, execution, crashes)

    def _dequeue(self, timeout_s: int) -> tuple[Job, Queue] | None:
        key = self.queues[0].key
        job_id = self._next_id(timeout_s)
        if job_id is None:
            return None
        fetched: tuple[Job, Queue] | None = self.queue_class._fetch_dequeued_job(
            self.connection, key, job_id, self.job_class, self.serializer, self.death_penalty_class
        )
        if fetched is None:
            self.queues[0].intermediate_queue.remove(job_id)
        return fetched

    def _next_id(self, timeout_s: int) -> str | None:
        """The next job's id, from now on in the intermediate list; not one that another worker can begin at once."""
        queue = self.queues[0]
        claimed = self._warm.claim(queue.intermediate_queue.key)
        if claimed is not None:
            return claimed
        found: Any = self.connection.blmove(queue.key, queue.intermediate_queue.key, timeout_s)
        if found is None:
            return None
        job_id: str = found.decode()
        return None if self._left_to_another(job_id) else job_id

    def _left_to_another(self, job_id: str) -> bool:
        """Whether the job was set aside for a worker that has its model loaded."""
        if not self._warm.has_company:
            return False
        record = self.ledger.read(job_id)
        if record is None or not isinstance(record.params, DrawParams):
            return False
        return self._warm.set_aside(job_id, record.params.model, self.queues[0].intermediate_queue.key)

    def _hold(self, record: JobRecord, job: Job, queue: Queue, execution: Execution, crashes: int) -> Slot | None:
        catalog = self._catalog()
        model = record.params.model if isinstance(record.params, DrawParams) else None
        if model is not None and model not in catalog:
            self.ledger.fail(job.id, execution.id, ModelUnavailable(f"{model} left the catalog"))
            self._finalize_success(job, queue, execution, None)
            return None
        slot = Slot(record, catalog, None if model is None else catalog[model], job, queue, execution, crashes)
        with self._lock:
            self._slots[slot.row_id] = slot
        return slot

    def succeed(self, slot: Slot, images: Sequence[Image], timings: dict[str, float]) -> None:
        """End the job with its images."""
        self._settle(slot, self.ledger.succeed(slot.job_id, slot.row_id, images, timings))

    def fail(self, slot: Slot, failure: JobFailure) -> None:
        """End the job as failed."""
        self._settle(slot, self.ledger.fail(slot.job_id, slot.row_id, failure))

    def cancel(self, slot: Slot) -> None:
        """End the job as canceled."""
        self._settle(slot, self.ledger.cancel(slot.job_id, slot.row_id))

    def _settle(self, slot: Slot, is_ours: bool) -> None:
        """Tell RQ that the job was delivered, unless it is another execution's by now, and let go of it."""
        try:
            if is_ours:
                self._finalize_success(slot.job, slot.queue, slot.execution, None)
        finally:
            self.abandon(slot)

    def abandon(self, slot: Slot) -> None:
        """Let go of the job; if it is not settled, its execution expires and RQ delivers it anew."""
        with self._lock:
            self._slots.pop(slot.row_id, None)
            self.executions.pop(slot.row_id, None)
        self.canceled.discard(slot.row_id)

    def give_back(self, slot: Slot) -> None:
        """Put the job back to the front of the queue, as if it had not been taken."""
        if self.ledger.hand_back(slot.job_id, slot.row_id):
            with self.connection.pipeline() as transaction:
                self.cleanup_execution(slot.job, pipeline=transaction, execution=slot.execution)
                slot.job.set_status(JobStatus.QUEUED, pipeline=transaction)
                slot.queue.push_job_id(slot.job_id, pipeline=transaction, at_front=True)
                transaction.execute()
        self.abandon(slot)

    # Staying alive

    def beat(self) -> None:
        """One round of signs of life, and of looking after what dead workers left."""
        self.heartbeat()
        self.ledger.beat(self.name)
        self._warm.beat(self.queues[0].key)
        for slot in self.slots:
            self.maintain_heartbeats(slot.job, slot.execution)
        if self.connection.set(MAINTENANCE_KEY, self.name, nx=True, ex=MAINTENANCE_LOCK_S):
            self.run_maintenance_tasks()
            self.connection.delete(MAINTENANCE_KEY)

    def sign_off(self) -> None:
        """Take no more jobs."""
        self.ledger.sign_off(self.name)
        self._warm.sign_off()

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """How long an execution lives without a sign of life, in seconds."""
        return EXECUTION_TTL_S

    def clean_registries(self) -> None:
        """Redeliver what dead workers held, and rescue what they dropped on the way."""
        queue = self.queues[0]
        clean_registries(queue, self._exc_handlers)
        self._rescue_stranded(queue)
        self.last_cleaned_at = now()

    def _rescue_stranded(self, queue: Queue) -> None:
        waiting = queue.intermediate_queue.get_job_ids()
        self._stranded_since = {job_id: self._stranded_since.get(job_id, time.monotonic()) for job_id in waiting}
        for job_id, since in self._stranded_since.items():
            if time.monotonic() - since > STRANDED_S and job_id not in queue.started_job_registry:
                self._rescue(keys=[queue.intermediate_queue.key, queue.key], args=[job_id])

    # What clients and RQ's own commands ask for

    def subscribe(self) -> None:
        """Listen to RQ's commands for this worker and to every cancellation."""
        super().subscribe()
        self.pubsub.subscribe(**{CANCEL_CHANNEL: self._note_cancel})

    def _note_cancel(self, message: Any) -> None:
        job_id = message["data"].decode()
        self.canceled.update(slot.row_id for slot in self.slots if slot.job_id == job_id)

    def request_stop_execution(self, execution_id: str) -> None:
        """Stop one of several executions, as RQ's stop-execution command asks."""
        if self.slot(execution_id) is not None:
            self.canceled.add(execution_id)
