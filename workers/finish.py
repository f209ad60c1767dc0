"""The last stage: threads that store the results of a job and write its end, without holding up the loop.

If the disk or Redis accepts no writes, a job is kept with its result and its end is tried again, at growing intervals;
after :data:`KEEP_S` it is requeued. Either way it is no crash of the job.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from redis.exceptions import RedisError

from models.errors import DeadlineExceeded, InternalFailure, JobFailure, ModelUnavailable, StorageUnavailable
from models.jobs.records import JobRecord
from models.jobs.results import JobOutput, StoredFile
from models.jobs.safety import SafetyResult
from service.backbone.connections import write_refusal
from service.backbone.logs import told_failure
from service.backbone.places import PaceNotes
from service.backbone.storage import StorageMonitor
from service.backbone.store import FileStore, ImageStore
from workers.choosing import Choice, Fit, choose, fit_by_eyes
from workers.consumer import Consumer
from workers.executors import Finished
from workers.fingerprinting import Fingerprints, none_of
from workers.held_jobs import HeldJob
from workers.marking import Marking
from workers.outputs import StoredOutput
from workers.pace import Used, job_time
from workers.safety import Safety

log = logging.getLogger(__name__)

THREADS = 2
LARGE_PX = 1 << 22
"""Results with more pixels are stored by a thread of their own: encoding one takes seconds."""
KEEP_S = 60.0
"""How long a worker keeps a job whose result it cannot store, before it requeues the job."""
PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0)
"""The time between two attempts to write the end of a job; the last pause repeats."""


@dataclass(eq=False)
class _End:
    """The end of one job, which may be tried several times."""

    job: HeldJob
    write: Callable[[], None]
    discard: Callable[[], None] = lambda: None
    """Removes what was stored, when the job is requeued."""
    is_large: bool = False
    """Whether storing the result takes seconds."""
    began_at: float = field(default_factory=time.monotonic)
    due_at: float = 0.0
    attempts: int = 0


class Finish:
    """Ends jobs in ``ENDING``; each method returns at once.

    Args:
        marking: encodes and marks the images.
        job_timeout_s: how long a job may take, including the encoding of its images.
        storage: is told when nothing could be stored.
        safety: looks at images before they are stored; ``None`` looks at none.
        fit: says how well the image of a candidate fits the prompt.
        fingerprints: makes what is kept of images so that they can be found.
    """

    def __init__(
        self,
        consumer: Consumer,
        images: ImageStore,
        files: FileStore,
        marking: Marking,
        job_timeout_s: float,
        storage: StorageMonitor | None = None,
        safety: Safety | None = None,
        fit: Fit = fit_by_eyes,
        fingerprints: Fingerprints = none_of,
    ) -> None:
        self._consumer, self._images, self._files, self._storage = consumer, images, files, storage
        self._marking, self._safety, self._fit, self._fingerprints = marking, safety, fit, fingerprints
        self._job_timeout_s = job_timeout_s
        self._pace_notes = PaceNotes(consumer.ledger.connection, consumer.queue)
        self._noted: dict[str, str | None] = {}
        self._kept: list[_End] = []
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="finish")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="finish-large")

    @property
    def is_keeping(self) -> bool:
        """Whether the end of a job could not be written yet, so that the worker should take no further jobs."""
        return bool(self._kept)

    def succeed(self, job: HeldJob, finished: Finished, used: Used | None = None) -> None:
        """Store the results and end the job as succeeded.

        Args:
            used: the time of this worker that the job used, if that is known.
        """
        success = _Success(
            job, finished, self._images, self._files, self._marking, self._consumer, self._job_timeout_s, self._safety,
            self._fit, self._fingerprints,
        )  # fmt: skip
        pixels = sum(image.width * image.height for image in finished.output.images)
        self._submit(_End(job, lambda: self._succeed(success, used), success.discard, pixels > LARGE_PX))

    def fail(self, job: HeldJob, failure: JobFailure) -> None:
        """End the job as failed; the files of ``failure`` are stored before."""
        stored = _Files(job, failure, self._images, self._files, self._marking)
        self._submit(_End(job, lambda: self._fail(job, failure, stored), stored.discard))

    def cancel(self, job: HeldJob) -> None:
        """End the job as canceled."""
        self._submit(_End(job, lambda: self._consumer.cancel(job)))

    def try_again(self) -> None:
        """Try again to end the jobs whose pause is over; for the loop, which calls this at every turn."""
        if not self._kept:
            return
        now = time.monotonic()
        with self._lock:
            due = [end for end in self._kept if end.due_at <= now]
        for end in due:
            end.due_at = float("inf")  # until this attempt has failed
            self._submit(end)

    def close(self) -> None:
        """Wait until each job has ended, or could not be ended; results that are not stored are dropped."""
        self._threads.shutdown()
        self._large.shutdown()
        for end in self._kept:
            end.discard()

    def _submit(self, end: _End) -> None:
        (self._large if end.is_large else self._threads).submit(self._guarded, end)

    def _guarded(self, end: _End) -> None:
        is_kept = False
        try:
            is_kept = not self._is_written(end)
        except RedisError as error:
            log.warning("job %s will be delivered again when its execution expires: %s", end.job.job_id, error)
            self._consumer.release(end.job)
        except JobFailure as failure:
            self._fail_or_release(end.job, failure)
        except Exception:
            log.exception("the result of job %s could not be stored", end.job.job_id)
            self._fail_or_release(end.job, InternalFailure("the result of the job could not be stored"))
        finally:
            with self._lock:
                self._kept = [other for other in self._kept if other is not end] + ([end] if is_kept else [])

    def _is_written(self, end: _End) -> bool:
        """Write the end of the job, or requeue it; ``False`` if neither is possible now."""
        try:
            end.write()
            return True
        except (StorageUnavailable, RedisError) as error:
            reason = _temporary(error)
            if reason is None:
                raise
            if self._consumer.held.get(end.job.execution_id) is not end.job:
                log.warning(
                    "job %s has ended, which RQ learns when it delivers the job again: %s", end.job.job_id, reason
                )
                return True
            if isinstance(error, StorageUnavailable) and self._storage is not None:
                self._storage.note_failure()
            if self._is_requeued(end, error):
                return True
            if end.attempts == 0:
                log.error("job %s is kept, because its end cannot be written: %s", end.job.job_id, reason)
        end.job.stop_clock()  # it waits for the storage, so that neither its deadline nor the device is to blame
        end.due_at = time.monotonic() + PAUSES_S[min(end.attempts, len(PAUSES_S) - 1)]
        end.attempts += 1
        return False

    def _is_requeued(self, end: _End, error: Exception) -> bool:
        """Requeue the job if it was kept for long enough, and Redis at least accepts writes."""
        if isinstance(error, RedisError) or time.monotonic() - end.began_at < KEEP_S:
            return False
        log.warning("requeuing job %s, because its result cannot be stored here", end.job.job_id)
        try:
            self._consumer.requeue(end.job)
        except RedisError as refused:
            if write_refusal(refused) is None:
                raise
            return False
        end.discard()
        return True

    def _fail_or_release(self, job: HeldJob, failure: JobFailure) -> None:
        """End the job as failed; if that fails too, its execution expires and the job is delivered again."""
        try:
            self._consumer.fail(job, failure)
        except Exception:
            log.exception("job %s will be delivered again when its execution expires", job.job_id)
            self._consumer.release(job)

    def _fail(self, job: HeldJob, failure: JobFailure, stored: _Files) -> None:
        if failure.detail is not None:
            log.warning("job %s failed: %s", job.job_id, told_failure(failure))
        if isinstance(failure, ModelUnavailable) and job.spec is not None and job.record.params.needs_only_its_model:
            self._note_problem(job.spec.name, str(failure))
        try:
            is_ours = self._consumer.fail(job, failure, stored.store())
        except JobFailure:
            stored.discard()
            raise
        if not is_ours:
            stored.discard()

    def _succeed(self, success: _Success, used: Used | None) -> None:
        success.write()
        if used is not None:
            self._note_pace(success.job, used)
        spec = success.job.spec
        try:
            if spec is not None:
                self._note_problem(spec.name, None)
        except RedisError as error:
            log.warning("it was not noted that the model %s works: %s", success.job.record.params.model_name, error)

    def _note_pace(self, job: HeldJob, used: Used) -> None:
        took = job_time(job.record, used)
        try:
            if took is not None:
                self._pace_notes.note(took)
        except RedisError as error:
            log.warning("it was not noted how long job %s took: %s", job.job_id, error)

    def _note_problem(self, model: str, problem: str | None) -> None:
        """Write the model's problem, or that it has none, unless that is what this worker wrote last."""
        if self._noted.get(model, "") != problem:
            self._consumer.ledger.note_model_problem(model, problem)
            self._noted[model] = problem


class _Files:
    """The files of a job that failed, which are stored before its record is written."""

    def __init__(
        self, job: HeldJob, failure: JobFailure, images: ImageStore, files: FileStore, marking: Marking
    ) -> None:
        self._job, self._output = job, JobOutput(files=tuple(failure.files))
        self._stores = images, files, marking
        self._stored: StoredOutput | None = None

    def store(self) -> Sequence[StoredFile]:
        """Store what is not stored yet; raises :class:`StorageUnavailable`."""
        if self._stored is None:
            self._stored = StoredOutput(self._output, self._job.record, *self._stores)
        self._stored.store()
        return self._stored.files

    def discard(self) -> None:
        """Remove what was stored."""
        if self._stored is not None:
            self._stored.discard()


class _Success:
    """The end of a job that succeeded: its output is stored, then its record is written."""

    def __init__(
        self,
        job: HeldJob,
        finished: Finished,
        images: ImageStore,
        files: FileStore,
        marking: Marking,
        consumer: Consumer,
        job_timeout_s: float,
        safety: Safety | None,
        fit: Fit,
        fingerprints: Fingerprints,
    ) -> None:
        self.job, self._job_timeout_s = job, job_timeout_s
        self._finished, self._images, self._files, self._consumer = finished, images, files, consumer
        self._marking, self._safety, self._fit, self._fingerprints = marking, safety, fit, fingerprints
        self._made_fingerprints: Sequence[str] = ()
        self._found: SafetyResult | None = None
        self._choice: Choice | None = None
        self._stored: StoredOutput | None = None

    def write(self) -> None:
        """Store the output and end the job.

        If the connection fails while the record is written, nobody knows whether it was, and the output stays.
        """
        began_at, finished = time.monotonic(), self._finished
        if self._stored is None:
            self._stored = self._made()
        stored = self._stored
        try:
            stored.store()
            timings = dict(finished.timings)
            timings["finish_s"] = timings.get("finish_s", 0.0) + time.monotonic() - began_at
            rounded = {stage: round(seconds, 4) for stage, seconds in timings.items()}
            document = finished.output.document if self._choice is None else self._choice.document(stored.images)
            files, found = stored.files, self._found
            ids = [image.image_id for image in stored.images]
            fingerprints = dict(zip(ids, self._made_fingerprints, strict=False))  # there may be none at all
            is_ours = self._consumer.succeed(
                self.job, stored.images, rounded, document, files, found, fingerprints, finished.backends
            )
            if not is_ours:
                stored.discard(is_deleted=self._consumer.ledger.read(self.job.job_id) is None)
        except JobFailure:
            stored.discard()
            raise

    def _made(self) -> StoredOutput:
        """The output as it is to be stored: what is kept of it, once the safety policy has seen that."""
        output, record = self._finished.output, self.job.record
        told: Sequence[JobRecord] = ()
        if record.params.is_scored:
            self._choice = choose(record, output.images, self._fit, self._check_deadline)
            output, told = replace(output, images=self._choice.images), self._choice.records
        if self._safety is not None:
            output, self._found = self._safety.apply(record, output)
        self._made_fingerprints = self._fingerprints(output.images)
        return StoredOutput(
            output, record, self._images, self._files, self._marking, records=told, check=self._check_deadline
        )

    def _check_deadline(self) -> None:
        """Raise :class:`DeadlineExceeded` if the job has no time left; called between pieces of its images."""
        if self.job.held_s > self._job_timeout_s:
            raise DeadlineExceeded(f"the job did not finish within {self._job_timeout_s:g} s")

    def discard(self) -> None:
        """Remove what was stored."""
        if self._stored is not None:
            self._stored.discard()


def _temporary(error: Exception) -> str | None:
    """Why the write failed, if trying it again later makes sense."""
    return str(error) if isinstance(error, StorageUnavailable) else write_refusal(error)
