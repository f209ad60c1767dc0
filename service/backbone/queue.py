"""The queue: a complete ticket enters the ledger and RQ in one Redis transaction."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis, WatchError
from rq import Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer

from models.errors import PhotogramError
from models.jobs.records import JobRecord, JobStatus
from models.jobs.tickets import Ticket
from service.backbone.records import WAKE_CHANNEL, events_key, new_hash, read_hash, record_key

QUEUE_NAME = "photogram"
TASK = "workers.tasks.draw"
"""What RQ believes it calls; our worker reads the ledger instead."""
REDELIVERIES_MAX = 100
"""How often RQ may deliver a job anew; the ledger's own crash limit ends it long before."""
RQ_TRACE_TTL_S = 60
IDEMPOTENCY_TTL_S = 24 * 3600


class QueueFull(PhotogramError):
    """So many jobs wait that no more are taken."""


class AlreadyUsed(PhotogramError):
    """The job id or idempotency key belongs to another request."""


@dataclass(frozen=True)
class Accepted:
    """A job in the ledger: new, or the one that an equal request made before."""

    record: JobRecord
    is_new: bool


def open_queue(connection: Redis) -> Queue:
    """The one queue that all workers share."""
    return Queue(QUEUE_NAME, connection=connection, serializer=JSONSerializer, default_timeout=-1)


class Intake:
    """Takes tickets in, for one gateway process; safe to use from several threads."""

    def __init__(self, connection: Redis, max_queued: int) -> None:
        self._connection = connection
        self._queue = open_queue(connection)
        self._max_queued = max_queued

    def accept(self, ticket: Ticket, requested: Mapping[str, Any], idempotency_key: str | None = None) -> Accepted:
        """Queue ``ticket``, unless an equal request of the same owner did so before.

        Raises:
            AlreadyUsed: the job id or the idempotency key belongs to another request.
            QueueFull: as many jobs wait as may.
        """
        guard = None if idempotency_key is None else _idempotency_key(ticket.owner, idempotency_key)
        while True:
            with self._connection.pipeline() as transaction:
                try:
                    return self._accept(transaction, ticket, requested, guard)
                except WatchError:
                    continue

    def _accept(self, transaction: Any, ticket: Ticket, requested: Mapping[str, Any], guard: str | None) -> Accepted:
        transaction.watch(record_key(ticket.job_id), *([guard] if guard else []))
        known_id = transaction.get(guard) if guard else None
        earlier = transaction.hgetall(record_key(known_id.decode() if known_id else ticket.job_id))
        if earlier:
            return Accepted(_same_request(read_hash(earlier), ticket, requested), is_new=False)
        if transaction.llen(self._queue.key) >= self._max_queued:
            raise QueueFull(f"{self._max_queued} jobs are waiting already")
        fields = new_hash(ticket, requested, time.time())
        transaction.multi()
        transaction.hset(record_key(ticket.job_id), mapping=fields)
        transaction.xadd(events_key(ticket.job_id), {"kind": "status", "data": JobStatus.QUEUED.value})
        transaction.publish(WAKE_CHANNEL, ticket.job_id)
        if guard:
            transaction.set(guard, ticket.job_id, ex=IDEMPOTENCY_TTL_S)
        self._queue.enqueue_job(self._delivery(ticket.job_id), pipeline=transaction)
        transaction.execute()
        return Accepted(read_hash({name.encode(): value.encode() for name, value in fields.items()}), is_new=True)

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


def _same_request(record: JobRecord, ticket: Ticket, requested: Mapping[str, Any]) -> JobRecord:
    if record.owner != ticket.owner or record.requested != json.loads(json.dumps(requested)):
        raise AlreadyUsed(f"the id {record.job_id!r} belongs to another request")
    return record


def _idempotency_key(owner: str, key: str) -> str:
    return f"photogram:idempotency:{owner}:{hashlib.sha256(key.encode()).hexdigest()}"
