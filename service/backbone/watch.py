"""The ledger as the gateway reads it: records, cancellation, and waiting for changes; ``listing`` has the lists."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from models.jobs.kinds import UnknownKind
from models.jobs.records import JobRecord, JobStatus
from service.backbone import scripts, trail
from service.backbone.agent_jobs import Told, tell_agent
from service.backbone.keyspace import (
    MODEL_BACKENDS_KEY,
    MODEL_PROBLEMS_KEY,
    WAKE_CHANNEL,
    events_key,
    record_key,
)
from service.backbone.logs import told
from service.backbone.model_notes import ModelBackend, backends_of, problems_of
from service.backbone.records import UnreadableRecord, is_hidden, read_hash

log = logging.getLogger(__name__)

_RECONNECT_S = 0.5
_POLL_S = 5.0
"""How often a waiter reads the record without being woken, in case Redis lost a message."""
_LOGGED_MAX = 10_000
"""How many ids of jobs with unreadable records are remembered, so that each is logged once."""


@dataclass(frozen=True)
class JobEvent:
    """An event of a job; ``event_id`` orders the events, and a reader resumes after the last one that it has."""

    event_id: str
    """Empty for what a gateway tells by itself (:meth:`JobWatcher.tell`), which nobody can resume after."""
    kind: str
    """``status`` (data: the status), ``loading``, ``progress``, ``preview``, ``note``, or what was told (JSON)."""
    data: str


class JobWatcher:
    """Reads the ledger for one gateway process; all waiters share one subscription."""

    def __init__(self, connection: Redis, record_ttl_s: int) -> None:
        self._connection = connection
        self._ttl_s = record_ttl_s
        self._cancel = connection.register_script(scripts.cancel())
        self._waiting: defaultdict[str, set[_Waiter]] = defaultdict(set)
        self.changed = asyncio.Event()
        """Set whenever any job has changed; :class:`~service.backbone.place_feed.PlaceFeed` clears it."""
        self._logged: set[str] = set()

    async def read(self, job_id: str) -> JobRecord | None:
        """The job's record; ``None`` if there is none, it was deleted, its kind is not registered, or it is damaged."""
        return self.known(job_id, await self.fields(job_id))

    async def fields(self, job_id: str) -> Mapping[bytes, bytes]:
        """The hash of the job's record as Redis has it; empty if there is none."""
        found: Any = await self._connection.hgetall(record_key(job_id))
        return found  # type: ignore[no-any-return]

    async def read_all(self, names: Sequence[str]) -> list[JobRecord]:
        """The records of those of the jobs that :meth:`read` would give, in one round trip."""
        async with self._connection.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hgetall(record_key(name))
            hashes = await pipeline.execute()
        return [record for record in map(self.known, names, hashes) if record is not None]

    def known(self, job_id: str, fields: Mapping[bytes, bytes]) -> JobRecord | None:
        """The record in the hash ``fields``, or ``None`` if the hash has expired, is hidden or cannot be read."""
        try:
            return read_hash(fields) if fields and not is_hidden(fields) else None
        except (UnknownKind, UnreadableRecord) as error:
            self._log_once(job_id, error)
            return None

    def _log_once(self, job_id: str, error: Exception) -> None:
        if job_id in self._logged:
            return
        if len(self._logged) >= _LOGGED_MAX:
            self._logged.clear()
        self._logged.add(job_id)
        log.warning("job %s is treated as absent: %s", job_id, told(error))

    async def cancel(self, job_id: str) -> None:
        """Cancel the job: at once if it is queued; within one step if a worker runs it; not if it has ended."""
        keys = [record_key(job_id), events_key(job_id)]
        if await self._cancel(keys=keys, args=[repr(time.time()), self._ttl_s]) == b"ended":
            values: Any = await self._connection.hmget(record_key(job_id), trail.JOB_FIELDS)
            trail.job_ended(values)

    async def wait(self, job_id: str, timeout_s: float) -> JobRecord | None:
        """The record when the job has ended, or as it is after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        with _Waiter(self._waiting, job_id) as waiter:
            while True:
                record = await self.read(job_id)
                left_s = deadline - time.monotonic()
                if record is None or record.status.is_terminal or left_s <= 0:
                    return record
                await waiter.next(min(left_s, _POLL_S))

    async def events(self, job_id: str, after: str, keep_alive_s: float) -> AsyncGenerator[JobEvent | None, None]:
        """The job's events after the id ``after``, until the job ends; ``None`` after ``keep_alive_s`` without one.

        What is told meanwhile comes between them; of several such events the last one, if the reader is slow.
        """
        with _Waiter(self._waiting, job_id, hears=True) as waiter:
            while True:
                has_ended = await self._has_ended(job_id)
                # Read after the status, so that these include all events up to the end of the job.
                found = await self._events_after(job_id, after)
                for event in found:
                    yield event
                    after = event.event_id
                if has_ended or any(event.kind == "status" and JobStatus(event.data).is_terminal for event in found):
                    return
                if (told := waiter.take_told()) is not None:
                    yield told
                while not found and not await waiter.next(keep_alive_s):
                    yield waiter.take_told()

    async def tell_agent(self, job_id: str, text: str, question_id: str | None) -> Told:
        """Tell an agent job what a person says (``agent_jobs.tell_agent``)."""
        return await tell_agent(self._connection, job_id, text, question_id)

    def tell(self, job_id: str, event: JobEvent) -> None:
        """Give ``event`` to all who read the events of the job now."""
        for waiter in self._waiting.get(job_id, ()):
            waiter.tell(event)

    async def _has_ended(self, job_id: str) -> bool:
        status: Any = await self._connection.hget(record_key(job_id), "status")
        return status is None or JobStatus(status.decode()).is_terminal

    async def _events_after(self, job_id: str, after: str) -> list[JobEvent]:
        entries: Any = await self._connection.xrange(events_key(job_id), min=f"({after}")
        return [JobEvent(entry.decode(), fields[b"kind"].decode(), fields[b"data"].decode())
                for entry, fields in entries]  # fmt: skip

    async def model_problems(self) -> dict[str, str]:
        """Why workers could not load models, by the name of the model."""
        found: Any = await self._connection.hgetall(MODEL_PROBLEMS_KEY)
        return problems_of(found)

    async def model_backends(self) -> dict[str, ModelBackend]:
        """The backends of the models that workers have loaded, by the name of the model."""
        found: Any = await self._connection.hgetall(MODEL_BACKENDS_KEY)
        return backends_of(found)

    async def listen(self) -> None:
        """Wake waiters whenever their jobs change, until cancelled; reconnects when the connection is lost."""
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
                    self.changed.set()
                    for waiter in self._waiting.get(message["data"].decode(), ()):
                        waiter.wake()


class _Waiter:
    """Waits for changes of one job, registered for as long as the context lasts."""

    def __init__(self, waiting: defaultdict[str, set[_Waiter]], job_id: str, *, hears: bool = False) -> None:
        self._waiting, self._job_id, self._event = waiting, job_id, asyncio.Event()
        self._has_changed, self._hears = False, hears
        self._told: JobEvent | None = None

    def __enter__(self) -> _Waiter:
        self._waiting[self._job_id].add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting[self._job_id].discard(self)
        if not self._waiting[self._job_id]:
            del self._waiting[self._job_id]

    def wake(self) -> None:
        """The job has changed."""
        self._has_changed = True
        self._event.set()

    def tell(self, event: JobEvent) -> None:
        """Something is to be told that is not in the ledger; only those who read events hear it."""
        if self._hears:
            self._told = event
            self._event.set()

    def take_told(self) -> JobEvent | None:
        """What was told last and not taken yet."""
        told, self._told = self._told, None
        if not self._has_changed:
            self._event.clear()
        return told

    async def next(self, timeout_s: float) -> bool:
        """Wait for the next change; ``False`` if none came in time, or if something was told."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), timeout_s)
        has_changed, self._has_changed = self._has_changed, False
        self._event.clear()
        return has_changed
