"""Where a job is in its queue, and when it will probably end, from the turns of all keys and what jobs took lately."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from models.jobs.kinds import find_kind
from models.jobs.params import JobParams
from models.jobs.records import JobRecord, JobStatus
from service.backbone import scripts
from service.backbone.keyspace import owner_running_key, pace_key, rq_started_key, workers_key
from service.backbone.queue_counts import WORKER_SILENCE_S

_CACHED_S = 1.0
"""How long a gateway answers with a place without a look at Redis."""
_CACHE_MAX = 10_000
_WORK, _JOB = "work", "job"
"""The fields of all jobs: pixels times steps of a job, and seconds of a job. Their quotient is the pace of mixed work;
the mean of the paces would count a small job, whose pixels take longer, as much as a large one."""
_SHARED = " shared"
"""The end of the fields of jobs that ran beside others: steps of a batch take less of the worker for each job."""


@dataclass(frozen=True)
class JobTime:
    """What one job took."""

    model: str | None
    """Its name in the catalog."""
    field: str
    """Equal for jobs of one model and size."""
    step_px: int
    seconds: float
    """Of a worker, of whose time the jobs that run at the same moment have equal shares."""
    is_shared: bool = False
    """Whether others ran beside it for most of its time."""


@dataclass(frozen=True)
class Place:
    """Where a job is that has not ended."""

    ahead: int
    """How many jobs are taken before it, as far as is known; jobs of other keys that come later are not."""
    eta_s: float | None
    """Seconds until it probably ends; ``None`` if no worker is alive, or none has told yet how long jobs take."""


def pace_field(params: JobParams) -> str:
    """The field of the pace of jobs like this one."""
    size = "x".join(str(getattr(params, side, "")) for side in ("width", "height"))
    return f"{params.model_name} {size}"


def model_pace_field(model: str | None) -> str:
    """The field of the pace of all jobs of a model, whatever their sizes."""
    return f"{model} *"


class PaceNotes:
    """Notes how long jobs took, for the workers of one queue."""

    def __init__(self, connection: Redis, queue: str) -> None:
        self._key, self._note = pace_key(queue), connection.register_script(scripts.note_pace())

    def note(self, job: JobTime) -> None:
        """Add one job to the moving averages."""
        end = _SHARED if job.is_shared else ""
        pace = job.seconds / job.step_px
        noted = {job.field + end: pace, _WORK + end: job.step_px, _JOB + end: job.seconds}
        noted[model_pace_field(job.model)] = pace
        self._note(keys=[self._key], args=[part for pair in noted.items() for part in pair])


@dataclass(frozen=True)
class _Times:
    """What jobs took lately."""

    px_s: float
    """Seconds for each pixel and step of all jobs."""
    job_s: float
    """Seconds for each job."""
    own_px_s: float
    """Seconds for each pixel and step of jobs like the one that is asked for."""

    @classmethod
    def read(cls, pace: Sequence[bytes | None]) -> _Times | None:
        """The times in the fields work, job and that of the job, or ``None`` if there are none."""
        work_px, job_s, own_px_s = (None if each is None else float(each) for each in pace)
        if work_px is None or job_s is None:
            return None
        return cls(job_s / work_px, job_s, own_px_s or job_s / work_px)


@dataclass(frozen=True)
class _Load:
    """How busy a queue is, and what its jobs took lately."""

    workers: int
    running: int
    paces: Mapping[str, bytes | None]
    running_of: Mapping[str, int]
    """Jobs that run, by their owner."""

    def place(self, record: JobRecord, ahead: int, ahead_px: float) -> Place:
        """Where ``record`` is, with so many jobs before it, whose work is ``ahead_px`` pixels times steps."""
        is_queued, beside = record.status is JobStatus.QUEUED, self.running / max(self.workers, 1)
        alone, shared = self._times(record, ""), self._times(record, _SHARED)
        times = (shared or alone) if ahead or beside > (0 if is_queued else 1) else (alone or shared)
        if not self.workers or times is None:
            return Place(ahead, None)
        step_px, job_s = record.params.cost({}).step_px, times.job_s
        own_s = step_px * times.own_px_s if step_px else job_s
        if not is_queued:
            left_s = own_s * (1 - record.step / max(record.steps, 1)) * max(beside, 1.0)
        elif not ahead and not self.running_of[record.owner]:
            # It is let in at once, and shares the device with another key at most.
            left_s = own_s * (2.0 if self.running else 1.0)
        else:
            # Jobs that run are half done on average, also those that come after this one and run beside its end.
            waits_s = (ahead_px * times.px_s + self.running * job_s / 2) / self.workers
            left_s = waits_s + own_s + max(beside - 1, 0.0) * job_s / 2
        return Place(ahead, round(left_s, 2))

    def _times(self, record: JobRecord, end: str) -> _Times | None:
        return _Times.read([self.paces[name + end] for name in (_WORK, _JOB, pace_field(record.params))])


class Places:
    """Tells the places of jobs, for one gateway process."""

    def __init__(self, connection: AsyncRedis) -> None:
        self._connection, self._place = connection, connection.register_script(scripts.place())
        self._cached: dict[str, tuple[float, bytes, Place]] = {}

    async def of(self, job_id: str, status: bytes, read: Callable[[], JobRecord]) -> Place:
        """The place of a job that has not ended.

        Args:
            status: of the job, as its record says it.
            read: reads the record; called only if the place is not known from a moment ago.
        """
        until, earlier, place = self._cached.get(job_id, (0.0, status, None))
        if place is None or until < time.monotonic() or status != earlier:
            if place is not None and status == earlier:  # one of those who ask at the same time looks, for all of them
                self._cached[job_id] = time.monotonic() + _CACHED_S, status, place
            (place,) = await self.of_all([read()])
            if len(self._cached) >= _CACHE_MAX:
                self._cached.clear()
            self._cached[job_id] = time.monotonic() + _CACHED_S, status, place
        return place

    async def of_all(self, records: Sequence[JobRecord]) -> list[Place]:
        """The places of jobs that have not ended, as they are now, in two round trips for each of their queues."""
        by_queue: defaultdict[str, dict[str, JobRecord]] = defaultdict(dict)
        for record in records:
            by_queue[find_kind(record.kind).queue][record.job_id] = record
        found: dict[str, Place] = {}
        for queue, asked in by_queue.items():
            found |= await self._of_queue(queue, asked)
        return [found[record.job_id] for record in records]

    async def _of_queue(self, queue: str, records: Mapping[str, JobRecord]) -> dict[str, Place]:
        load = await self._load(queue, records.values())
        asked = [record for record in records.values() if record.status is JobStatus.QUEUED]
        args = [part for record in asked for part in (record.owner, record.job_id)]
        told: Any = await self._place(args=[queue, *args]) if asked else ()
        ahead = {
            record.job_id: (int(count), float(work_px))
            for record, count, work_px in zip(asked, told[::2], told[1::2], strict=True)
        }
        return {name: load.place(record, *ahead.get(name, (0, 0.0))) for name, record in records.items()}

    async def _load(self, queue: str, records: Iterable[JobRecord]) -> _Load:
        owners = list({record.owner for record in records})
        names = list({pace_field(record.params) for record in records})
        fields = [each + end for end in ("", _SHARED) for each in (_WORK, _JOB, *names)]
        async with self._connection.pipeline(transaction=False) as pipeline:
            pipeline.zcount(workers_key(queue), time.time() - WORKER_SILENCE_S, "+inf")
            pipeline.zcard(rq_started_key(queue))
            pipeline.hmget(pace_key(queue), fields)
            for owner in owners:
                pipeline.scard(owner_running_key(owner))
            workers, running, paces, *of_owners = await pipeline.execute()
        return _Load(workers, running, dict(zip(fields, paces, strict=True)), dict(zip(owners, of_owners, strict=True)))
