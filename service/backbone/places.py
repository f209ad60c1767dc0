"""Where a job is in its queue, and when it will probably end, from the turns of all keys and what jobs took lately."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from models.jobs.kinds import find_kind
from models.jobs.params import JobParams
from models.jobs.records import JobRecord, JobStatus
from service.backbone import scripts
from service.backbone.keyspace import owner_running_key, pace_key, rq_started_key, workers_key
from service.backbone.watch import WORKER_SILENCE_S

_CACHED_S = 1.0
"""How long a gateway answers with a place without a look at Redis."""
_CACHE_MAX = 10_000
_ANY, _JOB = "any", "job"
"""The fields of the pace of all jobs: seconds for each pixel and step, and seconds for each job."""


@dataclass(frozen=True)
class JobTime:
    """What one job took."""

    model: str | None
    """Its name in the catalog."""
    field: str
    """Equal for jobs of one model and size."""
    step_px: int
    seconds: float
    """Of a worker that does nothing else."""


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
        pace, of_model = job.seconds / job.step_px, model_pace_field(job.model)
        self._note(keys=[self._key], args=[job.field, pace, of_model, pace, _ANY, pace, _JOB, job.seconds])


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
            place = await self._read(read())
            if len(self._cached) >= _CACHE_MAX:
                self._cached.clear()
            self._cached[job_id] = time.monotonic() + _CACHED_S, status, place
        return place

    async def _read(self, record: JobRecord) -> Place:
        queue = find_kind(record.kind).queue
        async with self._connection.pipeline(transaction=False) as pipeline:
            pipeline.zcount(workers_key(queue), time.time() - WORKER_SILENCE_S, "+inf")
            pipeline.zcard(rq_started_key(queue))
            pipeline.scard(owner_running_key(record.owner))
            pipeline.hmget(pace_key(queue), _ANY, _JOB, pace_field(record.params))
            workers, running, own_running, pace = await pipeline.execute()
        ahead, ahead_px = 0, 0.0
        if record.status is JobStatus.QUEUED:
            found: Any = await self._place(args=[queue, record.owner, record.job_id])
            ahead, ahead_px = int(found[0]), float(found[1])
        any_s, job_s, own_pace_s = (None if each is None else float(each) for each in pace)
        if not workers or any_s is None or job_s is None:
            return Place(ahead, None)
        step_px = record.params.cost({}).step_px
        own_s = step_px * (own_pace_s or any_s) if step_px else job_s
        beside = running / workers
        if record.status is JobStatus.RUNNING:
            left_s = own_s * (1 - record.step / max(record.steps, 1)) * max(beside, 1.0)
        elif not ahead and not own_running:  # it is let in at once, and shares the device with another key at most
            left_s = own_s * (2.0 if running else 1.0)
        else:
            # Jobs that run are half done on average, also those that come after this one and run beside its end.
            waits_s = (ahead_px * any_s + running * job_s / 2) / workers
            left_s = waits_s + own_s + max(beside - 1, 0.0) * job_s / 2
        return Place(ahead, round(left_s, 2))
