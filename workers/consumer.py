"""Taking jobs and ending them: the ledger is written first, then RQ, then the job is released."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from models.catalog.catalog import Catalog
from models.errors import InternalFailure, JobFailure, ModelUnavailable
from models.jobs.kinds import JobKind, UnknownKind
from models.jobs.records import JobRecord
from models.jobs.results import Image, Json, StoredFile
from models.jobs.safety import SafetyResult
from service.backbone.ledger import Ledger
from service.backbone.logs import told_failure
from service.backbone.records import UnreadableRecord
from workers.delivery import Delivery
from workers.fetching.gate import FetchGate
from workers.held_jobs import HeldJob, HeldJobs
from workers.rq_adapter import RqAdapter
from workers.warm import WarmRouting

log = logging.getLogger(__name__)


class Consumer:
    """The queue's consumer: it fills the table of held jobs; its methods may be called from any thread.

    Args:
        kinds: the job kinds that this worker runs.
        catalog: returns the catalog of now.
        gate: decides which jobs that need a fetch are taken.
        routing: ``None`` for workers without a diffusion engine, which load no models.
    """

    def __init__(
        self,
        adapter: RqAdapter,
        ledger: Ledger,
        held: HeldJobs,
        kinds: Collection[JobKind],
        catalog: Callable[[], Catalog],
        gate: FetchGate,
        routing: WarmRouting | None = None,
    ) -> None:
        self.ledger, self.held, self.gate = ledger, held, gate
        self._adapter, self._catalog, self._routing = adapter, catalog, routing
        self._kinds = {kind.name: kind for kind in kinds}

    @property
    def queue(self) -> str:
        """The name of the queue that it takes jobs from."""
        return str(self._adapter.queue.name)

    def take(self, timeout_s: float) -> HeldJob | None:
        """Hold the next job; ``None`` if none came within ``timeout_s``, or the job that came needs no work here.

        A job that needs a fetch has a slot of :attr:`gate`, which whoever fetches its images must free.
        """
        job_id = self._next_id(timeout_s)
        return None if job_id is None else self._hold(job_id)

    def take_of_another(self) -> HeldJob | None:
        """As :meth:`take`, if the next job is there now and belongs to an API key of whom this worker holds none."""
        job_id = self._adapter.pop_of_another({job.record.owner for job in self.held.all()})
        return None if job_id is None else self._hold(job_id)

    def _hold(self, job_id: str) -> HeldJob | None:
        """Hold a popped job, unless a peer is to run it, it must wait for a fetch, or it needs no work here."""
        record = self._peek(job_id)
        if record is None:
            return self._start(job_id, None)
        if self._is_deferred(record) or not self.gate.enter(record):
            return None
        job = None
        try:
            job = self._start(job_id, record)
        finally:
            if job is None:
                self.gate.leave(record)
        return job

    def _start(self, job_id: str, record: JobRecord | None) -> HeldJob | None:
        """Hold a popped job, unless it has ended or cannot run here."""
        delivery = self._adapter.start(job_id)
        if delivery is None:
            return None
        crashes = self.ledger.start(delivery.job_id, delivery.execution_id)
        try:
            job = None if crashes is None else self._open(delivery, crashes, record)
        except JobFailure as failure:
            log.error("job %s cannot run here: %s", delivery.job_id, told_failure(failure))
            self.ledger.fail(delivery.job_id, delivery.execution_id, failure)
            job = None
        if job is None:
            self._adapter.settle(delivery)
            return None
        self.held.add(job)
        return job

    def _next_id(self, timeout_s: float) -> str | None:
        """The id of the next job, which is in the intermediate list now: one that waited elsewhere, or of the queue."""
        claimed = self._routing.claim() if self._routing is not None else None
        return claimed or self.gate.claim() or self._adapter.pop(timeout_s)

    def _peek(self, job_id: str) -> JobRecord | None:
        """The record of a popped job; ``None`` if there is none that can be read, which is said once it is started."""
        try:
            return self.ledger.read(job_id)
        except (UnknownKind, UnreadableRecord):
            return None

    def _is_deferred(self, record: JobRecord) -> bool:
        if self._routing is None or not self._routing.has_peers:
            return False
        model = record.params.model_name
        return model is not None and self._routing.defer(record.job_id, model)

    def _open(self, delivery: Delivery, crashes: int, record: JobRecord | None) -> HeldJob | None:
        """The job of ``delivery``; ``None`` if its record is gone.

        Args:
            record: its record, if that was read before.

        Raises:
            JobFailure: this worker cannot run it.
        """
        record = record or self._read(delivery.job_id)
        if record is None:
            return None
        kind = self._kinds.get(record.kind)
        if kind is None:
            raise InternalFailure(f"job kind {record.kind!r} does not run on the queue {self._adapter.queue.name!r}")
        catalog, model = self._catalog(), record.params.model_name
        if model is not None and model not in catalog:
            raise ModelUnavailable(f"the model {model!r} is no longer in the catalog")
        job = HeldJob(record, kind, catalog, delivery, crashes)
        if record.started_at is not None and not job.is_suspect:  # what is drawn may be what kills workers
            job.snapshot = self.ledger.snapshot(job.job_id)
        return job

    def _read(self, job_id: str) -> JobRecord | None:
        try:
            return self.ledger.read(job_id)
        except UnknownKind as error:
            raise InternalFailure(f"{error}; PHOTOGRAM_JOB_KINDS must name the module that registers it") from error
        except UnreadableRecord as error:
            raise InternalFailure("the record of the job cannot be read", detail=str(error)) from error

    def succeed(
        self,
        job: HeldJob,
        images: Sequence[Image],
        timings: Mapping[str, float],
        document: Json = None,
        files: Sequence[StoredFile] = (),
        safety: SafetyResult | None = None,
        fingerprints: Mapping[str, str] | None = None,
        backends: Sequence[str] = (),
    ) -> bool:
        """End the job with its results; ``False`` if it belongs to another execution by now.

        Raises:
            InternalFailure: ``document`` cannot be stored; the job is still held.
        """
        is_ours = self.ledger.succeed(
            job.job_id, job.execution_id, images, dict(timings), document=document, files=files, safety=safety,
            fingerprints=fingerprints, backends=backends,
        )  # fmt: skip
        self._settle(job, is_ours)
        return is_ours

    def fail(self, job: HeldJob, failure: JobFailure, files: Sequence[StoredFile] = ()) -> bool:
        """End the job as failed, or move it back to the queue if it may run again after such a failure.

        Returns:
            Whether its record has the failure now, and ``files``.
        """
        if failure.code == InternalFailure.code and self.ledger.retry(job.job_id, job.execution_id):
            log.warning("job %s runs again after a failure: %s", job.job_id, told_failure(failure))
            self._adapter.requeue(job.delivery)
            self.release(job)
            return False
        is_ours = self.ledger.fail(job.job_id, job.execution_id, failure, files)
        self._settle(job, is_ours)
        return is_ours

    def cancel(self, job: HeldJob) -> None:
        """End the job as canceled."""
        self._settle(job, self.ledger.cancel(job.job_id, job.execution_id))

    def requeue(self, job: HeldJob) -> None:
        """Move the job back to the front of the queue, without a crash."""
        if self.ledger.requeue(job.job_id, job.execution_id):
            self._adapter.requeue(job.delivery)
        self.release(job)

    def release(self, job: HeldJob) -> None:
        """Hold the job no longer; unless it was settled, its execution expires and RQ delivers it again."""
        self.held.remove(job)
        self._adapter.release(job.delivery)

    def _settle(self, job: HeldJob, is_ours: bool) -> None:
        """Settle the job with RQ, unless RQ has given it to another execution, and release it."""
        try:
            if is_ours:
                self._adapter.settle(job.delivery)
        finally:
            self.release(job)
