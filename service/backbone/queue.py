"""The intake of jobs: one Redis transaction writes the ticket to the ledger and enqueues it in RQ."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis, WatchError
from rq import Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer

from models.errors import PhotogramError
from models.jobs.kinds import DIFFUSION_QUEUE, UnknownKind, find_kind
from models.jobs.records import JobRecord, JobStatus
from models.jobs.tickets import Ticket
from service.backbone.keyspace import (
    LEASES_KEY,
    WAKE_CHANNEL,
    events_key,
    fetches_key,
    idempotency_key,
    owner_jobs_key,
    record_key,
)
from service.backbone.leases import LEASE_S
from service.backbone.records import UnreadableRecord, new_hash, read_hash
from service.backbone.settings import Settings

TASK = "workers.tasks.draw"
"""The function that RQ believes it calls; Photogram's workers read the ledger instead."""
REDELIVERIES_MAX = 100
"""How often RQ may deliver a job again; the crash limit of the ledger ends it long before."""
RQ_TRACE_TTL_S = 60
IDEMPOTENCY_TTL_S = 24 * 3600
OWNER_JOBS_MAX = 10_000
"""How many jobs of one owner can be listed; the oldest are dropped from the list when it is trimmed."""
TRIM_PROBABILITY = 1 / 16
"""How often an accepted job trims the list of its owner: often enough to bound it, and cheaper than every time."""


class QueueFull(PhotogramError):
    """The queue holds as many jobs as it may."""


class AlreadyUsed(PhotogramError):
    """The job id or idempotency key belongs to another request."""


@dataclass(frozen=True)
class Accepted:
    """A job in the ledger: a new one, or the one of an equal earlier request."""

    record: JobRecord
    is_new: bool


def open_queue(connection: Redis, name: str = DIFFUSION_QUEUE) -> Queue:
    """The RQ queue called ``name``, with the settings that gateway and workers must share."""
    return Queue(name, connection=connection, serializer=JSONSerializer, default_timeout=-1)


class Intake:
    """Accepts tickets, for one gateway process; safe to use from several threads."""

    def __init__(self, connection: Redis, max_queued: int, record_ttl_s: int = Settings.record_ttl_s) -> None:
        self._connection = connection
        self._max_queued = max_queued
        self._record_ttl_s = record_ttl_s
        self._queues: dict[str, Queue] = {}

    def accept(
        self,
        ticket: Ticket,
        requested: Mapping[str, Any],
        idempotency_key: str | None = None,
        *,
        is_leased: bool = False,
    ) -> Accepted:
        """Enqueue ``ticket`` in the queue of its kind, unless an equal request of the same owner did so before.

        Args:
            is_leased: whether the job ends with its caller, who must renew its lease (``service.backbone.leases``).

        Raises:
            AlreadyUsed: the job id or the idempotency key belongs to another request, or the record of its request
                cannot be read.
            QueueFull: the queue holds ``max_queued`` jobs.
        """
        guard = None if idempotency_key is None else _guard_key(ticket.owner, idempotency_key)
        while True:
            with self._connection.pipeline() as transaction:
                try:
                    return self._accept(transaction, ticket, requested, guard, is_leased)
                except WatchError:
                    continue

    def _accept(
        self, transaction: Any, ticket: Ticket, requested: Mapping[str, Any], guard: str | None, is_leased: bool
    ) -> Accepted:
        transaction.watch(record_key(ticket.job_id), *([guard] if guard else []))
        known_id = transaction.get(guard) if guard else None
        earlier = transaction.hgetall(record_key(known_id.decode() if known_id else ticket.job_id))
        if earlier:
            return Accepted(_same_request(_earlier(earlier, ticket), ticket, requested), is_new=False)
        queue = self._queue(find_kind(ticket.kind).queue)
        if self._waiting(queue) >= self._max_queued:
            raise QueueFull(f"the queue is full: {self._max_queued} jobs are waiting")
        now = time.time()
        fields = new_hash(ticket, requested, now)
        transaction.multi()
        transaction.hset(record_key(ticket.job_id), mapping=fields)
        transaction.xadd(events_key(ticket.job_id), {"kind": "status", "data": JobStatus.QUEUED.value})
        transaction.publish(WAKE_CHANNEL, ticket.job_id)
        self._list(transaction, ticket, now)
        if is_leased:
            transaction.zadd(LEASES_KEY, {ticket.job_id: now + LEASE_S})
        if guard:
            transaction.set(guard, ticket.job_id, ex=IDEMPOTENCY_TTL_S)
        queue.enqueue_job(self._delivery(ticket.job_id), pipeline=transaction)
        transaction.execute()
        encoded = {name.encode(): value.encode() for name, value in fields.items()}
        return Accepted(read_hash(encoded, ticket.params), is_new=True)

    def _waiting(self, queue: Queue) -> int:
        """How many jobs wait, those that workers have set aside until their images can be fetched included."""
        with self._connection.pipeline(transaction=False) as pipeline:
            pipeline.llen(queue.key)
            pipeline.zcard(fetches_key(queue.name))
            return sum(pipeline.execute())

    def _list(self, transaction: Any, ticket: Ticket, now: float) -> None:
        """Add the job to those of its owner; now and then, drop those whose records may have expired."""
        key = owner_jobs_key(ticket.owner)
        transaction.zadd(key, {ticket.job_id: now})
        transaction.expire(key, self._record_ttl_s)
        if random.random() < TRIM_PROBABILITY:
            transaction.zremrangebyscore(key, "-inf", now - self._record_ttl_s)
            transaction.zremrangebyrank(key, 0, -OWNER_JOBS_MAX - 1)

    def _queue(self, name: str) -> Queue:
        if name not in self._queues:
            self._queues[name] = open_queue(self._connection, name)
        return self._queues[name]

    def _delivery(self, job_id: str) -> Job:
        return Job.create(
            TASK,
            args=[job_id],
            id=job_id,
            connection=self._connection,
            serializer=JSONSerializer,
            timeout=-1,
            result_ttl=RQ_TRACE_TTL_S,
            failure_ttl=RQ_TRACE_TTL_S,
            retry=Retry(max=REDELIVERIES_MAX),
        )


def _earlier(fields: Mapping[bytes, bytes], ticket: Ticket) -> JobRecord:
    try:
        return read_hash(fields)
    except (UnknownKind, UnreadableRecord) as error:
        message = f"the id {ticket.job_id!r} or the idempotency key belongs to an earlier job that cannot be read"
        raise AlreadyUsed(message) from error


def _same_request(record: JobRecord, ticket: Ticket, requested: Mapping[str, Any]) -> JobRecord:
    if record.owner != ticket.owner or record.requested != json.loads(json.dumps(requested)):
        raise AlreadyUsed(f"the id {record.job_id!r} belongs to another request")
    return record


def _guard_key(owner: str, key: str) -> str:
    return idempotency_key(owner, hashlib.sha256(key.encode()).hexdigest())
