"""The ledger as the gateway reads it: records, cancelling, and waiting for what happens next."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from models.jobs.records import JobRecord, JobStatus
from service.backbone import scripts
from service.backbone.records import (
    MODEL_BACKENDS_KEY,
    MODEL_PROBLEMS_KEY,
    WAKE_CHANNEL,
    WORKERS_KEY,
    events_key,
    read_hash,
    record_key,
)

WORKER_SILENCE_S = 10.0
"""A worker that has not been heard of for so long counts as gone."""
_RECONNECT_S = 0.5
_DOUBT_S = 5.0
"""A waiter looks for itself after so long, should an announcement have been lost."""


@dataclass(frozen=True)
class JobEvent:
    """One thing that happened to a job; ``event_id`` orders them and is where a reader may resume."""

    event_id: str
    kind: str
    """``status`` (data: the status), ``progress`` or ``preview`` (data: JSON)."""
    data: str


@dataclass(frozen=True)
class ModelBackend:
    """What computes a model, and how far its outputs are from torch's, relative to their size."""

    backend: str
    relative_error: float | None


class JobWatcher:
    """Reads the ledger for one gateway process; all waiters share a single subscription."""

    def __init__(self, connection: Redis, record_ttl_s: int) -> None:
        self._connection = connection
        self._ttl_s = record_ttl_s
        self._cancel = connection.register_script(scripts.CANCEL)
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def read(self, job_id: str) -> JobRecord | None:
        """The job's record, or ``None`` if there is none."""
        fields: Any = await self._connection.hgetall(record_key(job_id))
        return read_hash(fields) if fields else None

    async def cancel(self, job_id: str) -> None:
        """Cancel the job: at once if it is queued, within a tick if a worker has it, not at all if it is over."""
        keys = [record_key(job_id), events_key(job_id)]
        await self._cancel(keys=keys, args=[repr(time.time()), self._ttl_s])

    async def wait(self, job_id: str, timeout_s: float) -> JobRecord | None:
        """The record once the job is over, or as it is after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        with _Waiter(self._waiting, job_id) as waiter:
            while True:
                record = await self.read(job_id)
                left_s = deadline - time.monotonic()
                if record is None or record.status.is_terminal or left_s <= 0:
                    return record
                await waiter.next(min(left_s, _DOUBT_S))

    async def events(self, job_id: str, after: str, keep_alive_s: float) -> AsyncGenerator[JobEvent | None, None]:
        """The job's events after the id ``after`` until it is over; ``None`` now and then while nothing happens."""
        with _Waiter(self._waiting, job_id) as waiter:
            while True:
                is_over = await self._is_over(job_id)
                # Read after the status: whatever led up to the job's end is among these.
                found = await self._events_after(job_id, after)
                for event in found:
                    yield event
                    after = event.event_id
                if is_over or any(event.kind == "status" and JobStatus(event.data).is_terminal for event in found):
                    return
                if not found and not await waiter.next(keep_alive_s):
                    yield None

    async def _is_over(self, job_id: str) -> bool:
        status: Any = await self._connection.hget(record_key(job_id), "status")
        return status is None or JobStatus(status.decode()).is_terminal

    async def _events_after(self, job_id: str, after: str) -> list[JobEvent]:
        entries: Any = await self._connection.xrange(events_key(job_id), min=f"({after}")
        return [JobEvent(entry.decode(), fields[b"kind"].decode(), fields[b"data"].decode())
                for entry, fields in entries]  # fmt: skip

    async def worker_count(self) -> int:
        """How many workers could take a job."""
        count: Any = await self._connection.zcount(WORKERS_KEY, time.time() - WORKER_SILENCE_S, "+inf")
        return int(count)

    async def model_problems(self) -> dict[str, str]:
        """Why workers could not load models, by model name."""
        found: Any = await self._connection.hgetall(MODEL_PROBLEMS_KEY)
        return {name.decode(): problem.decode() for name, problem in found.items()}

    async def model_backends(self) -> dict[str, ModelBackend]:
        """What computes the models that workers have loaded, by model name."""
        found: Any = await self._connection.hgetall(MODEL_BACKENDS_KEY)
        return {name.decode(): ModelBackend(**json.loads(note)) for name, note in found.items()}

    async def listen(self) -> None:
        """Wake the waiters for every change that is announced; runs as long as the gateway does."""
        while True:
            try:
                await self._listen_once()
            except (RedisError, OSError):
                await asyncio.sleep(_RECONNECT_S)

    async def _listen_once(self) -> None:
        async with self._connection.pubsub() as subscription:
            await subscription.subscribe(WAKE_CHANNEL)
            async for message in subscription.listen():
                if message["type"] == "message":
                    for waiting in self._waiting.get(message["data"].decode(), ()):
                        waiting.set()


class _Waiter:
    """One place in the waiting room of one job."""

    def __init__(self, waiting: defaultdict[str, set[asyncio.Event]], job_id: str) -> None:
        self._waiting, self._job_id, self._event = waiting, job_id, asyncio.Event()

    def __enter__(self) -> _Waiter:
        self._waiting[self._job_id].add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting[self._job_id].discard(self._event)
        if not self._waiting[self._job_id]:
            del self._waiting[self._job_id]

    async def next(self, timeout_s: float) -> bool:
        """Wait for the next announcement; ``False`` if none came in time."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return False
        self._event.clear()
        return True
