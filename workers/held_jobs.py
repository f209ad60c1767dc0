"""The jobs that this worker holds, each in one phase of its way from the queue to its end.

Each transition between phases has exactly one thread that makes it:

| from | to | thread | set in the same step |
| --- | --- | --- | --- |
| (queue) | ``TAKEN`` | prepare | record, kind, catalog |
| ``TAKEN`` | ``PREPARING`` | prepare | |
| ``TAKEN`` | ``READY`` | prepare | |
| ``PREPARING`` | ``READY`` | loader | images, or the failure to load them |
| ``READY`` | ``RUNNING`` | loop | |
| any but ``ENDING`` | ``ENDING`` | loop | |

The loop alone starts the end of a job, so that a job ends once, whatever happens to it at the same moment. ``ENDING``
is final: every later transition returns ``False``, and the thread that attempted it drops the job. The record changes
in ``PREPARING`` only, when the rewriting thread adds the rewritten prompt. In ``ENDING`` a finish thread writes the end
of the job and removes it from the table.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum, auto

from PIL.Image import Image

from models.catalog.catalog import Catalog, ModelSpec
from models.errors import JobFailure
from models.jobs.kinds import JobKind
from models.jobs.records import JobRecord
from models.jobs.rewrite import Rewrite
from workers.delivery import Delivery

SUSPECT_CRASHES = 2
"""A job that was running in so many workers when they died runs alone, so that another crash can only be its own."""


class Phase(Enum):
    """Where a held job is."""

    TAKEN = auto()
    PREPARING = auto()
    """Its prompt is rewritten, then its images are loaded."""
    READY = auto()
    """It waits for the loop."""
    RUNNING = auto()
    """An executor has it."""
    ENDING = auto()
    """Its end is being written, or it is being requeued."""


_NEXT = {
    Phase.TAKEN: (Phase.PREPARING, Phase.READY, Phase.ENDING),
    Phase.PREPARING: (Phase.READY, Phase.ENDING),
    Phase.READY: (Phase.RUNNING, Phase.ENDING),
    Phase.RUNNING: (Phase.ENDING,),
}


class HeldJob:
    """One job that this worker holds; its execution id fences everything that the worker writes about it."""

    def __init__(self, record: JobRecord, kind: JobKind, catalog: Catalog, delivery: Delivery, crashes: int) -> None:
        self.kind, self.delivery, self.crashes = kind, delivery, crashes
        self.catalog = catalog
        """The catalog as it was when the job was taken."""
        model = record.params.model_name
        self.spec: ModelSpec | None = None if model is None else catalog[model]
        self.snapshot: bytes | None = None
        """What an earlier execution had drawn of the job; the executor goes on from there."""
        self.is_watched = False
        """Whether a client watches the job's previews, as of its last report; written by the report thread."""
        self._record = record
        self._images: Mapping[str, Image] = {}
        self._failure: JobFailure | None = None
        self._phase = Phase.TAKEN
        self._counts_from: float | None = time.monotonic()
        self._lock = threading.Lock()

    @property
    def record(self) -> JobRecord:
        """The job's record when it was taken, with the rewritten prompt once there is one."""
        return self._record

    @property
    def images(self) -> Mapping[str, Image]:
        """The images that the job starts from, by source; complete from ``READY`` on."""
        return self._images

    @property
    def failure(self) -> JobFailure | None:
        """Why the job could not be prepared; set from ``READY`` on."""
        return self._failure

    @property
    def phase(self) -> Phase:
        """The phase now; only ``ENDING`` is sure to last."""
        return self._phase

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return self._record.job_id

    @property
    def execution_id(self) -> str:
        """The id of this delivery of the job: another delivery of the same job has another one."""
        return self.delivery.execution_id

    @property
    def is_suspect(self) -> bool:
        """Whether the job must run alone."""
        return self.crashes >= SUSPECT_CRASHES

    @property
    def held_s(self) -> float:
        """For how long this worker has held the job, without the time that it waited for other jobs to end."""
        since = self._counts_from
        return 0.0 if since is None else time.monotonic() - since

    @property
    def has_begun(self) -> bool:
        """Whether the executor has begun with the job."""
        return self._phase is Phase.RUNNING and self._counts_from is not None

    @property
    def is_clock_stopped(self) -> bool:
        """Whether the time of the job does not count now."""
        return self._counts_from is None

    def stop_clock(self) -> None:
        """Let ``held_s`` be 0 until :meth:`restart_clock`; for a running job that waits for a thread or a download."""
        self._counts_from = None

    def restart_clock(self) -> None:
        """Count ``held_s`` from now on, because the job waited for other jobs or for a download before."""
        self._counts_from = time.monotonic()

    def start_preparing(self) -> bool:
        """Enter ``PREPARING``; ``False`` if the job is ending."""
        return self._enter(Phase.PREPARING)

    def set_rewrite(self, rewrite: Rewrite) -> None:
        """Add what became of the prompt; for the rewriting thread, in ``PREPARING``."""
        self._record = replace(self._record, rewrite=rewrite)

    def become_ready(self, images: Mapping[str, Image] | None = None, failure: JobFailure | None = None) -> bool:
        """Enter ``READY`` with the loaded images or the failure to load them; ``False`` if the job is ending."""
        with self._lock:
            if not self._may_enter(Phase.READY):
                return False
            self._images, self._failure = images or {}, failure
            self._phase = Phase.READY
            return True

    def start_running(self) -> bool:
        """Enter ``RUNNING``; ``False`` if the job is ending."""
        return self._enter(Phase.RUNNING)

    def start_ending(self) -> bool:
        """Enter ``ENDING``; ``False`` if the job is ending already."""
        return self._enter(Phase.ENDING)

    def _enter(self, phase: Phase) -> bool:
        with self._lock:
            if not self._may_enter(phase):
                return False
            self._phase = phase
            return True

    def _may_enter(self, phase: Phase) -> bool:
        if self._phase is Phase.ENDING:
            return False
        if phase not in _NEXT[self._phase]:
            raise RuntimeError(f"job {self.job_id} cannot go from {self._phase.name} to {phase.name}")
        return True


class HeldJobs:
    """The table of held jobs, with the requests to cancel some of them; safe to use from several threads."""

    def __init__(self) -> None:
        self._jobs: dict[str, HeldJob] = {}
        self._cancel_requests: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._jobs)

    def all(self) -> list[HeldJob]:
        """All held jobs, the oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def get(self, execution_id: str) -> HeldJob | None:
        """The job of that execution, or ``None`` if it is no longer held."""
        with self._lock:
            return self._jobs.get(execution_id)

    def add(self, job: HeldJob) -> None:
        """Hold ``job`` from now on."""
        with self._lock:
            self._jobs[job.execution_id] = job

    def remove(self, job: HeldJob) -> None:
        """Hold ``job`` no longer."""
        with self._lock:
            self._jobs.pop(job.execution_id, None)
            self._cancel_requests.discard(job.execution_id)

    def request_cancel(self, execution_id: str) -> None:
        """Ask the loop to cancel that execution; ignored if it is not held."""
        with self._lock:
            if execution_id in self._jobs:
                self._cancel_requests.add(execution_id)

    def request_cancel_of_job(self, job_id: str) -> None:
        """Ask the loop to cancel the job; ignored if it is not held."""
        with self._lock:
            self._cancel_requests.update(key for key, job in self._jobs.items() if job.job_id == job_id)

    def take_cancel_requests(self) -> list[HeldJob]:
        """The jobs to cancel, each once; for the loop alone."""
        if not self._cancel_requests:  # the loop calls this at every step, and nearly always there are none
            return []
        with self._lock:
            requested, self._cancel_requests = self._cancel_requests, set()
            return [job for key, job in self._jobs.items() if key in requested]
