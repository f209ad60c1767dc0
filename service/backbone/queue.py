"""The intake of jobs: one Redis script checks limits, writes the ticket to the ledger and enqueues it in RQ."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from rq import Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer

from models.errors import PhotogramError
from models.jobs.kinds import DIFFUSION_QUEUE, UnknownKind, find_kind
from models.jobs.records import JobRecord, JobStatus
from models.jobs.tickets import Ticket
from service.backbone import metrics, scripts
from service.backbone.allowances import NO_DEMAND, NO_LIMITS, Allowance, Demand, LimitReached
from service.backbone.keyspace import (
    LEASES_KEY,
    WAKE_CHANNEL,
    events_key,
    fetches_key,
    idempotency_key,
    owner_jobs_key,
    owner_queued_key,
    owner_requests_key,
    owner_running_key,
    record_key,
    usage_key,
)
from service.backbone.leases import LEASE_S
from service.backbone.records import UnreadableRecord, new_hash, read_hash
from service.backbone.settings import Settings
from service.backbone.turns import charge, rank
from service.backbone.usage import Periods
from service.backbone.webhooks.events import NO_WEBHOOK, WebhookLinks

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


class _Deliveries(Queue):  # type: ignore[misc]
    """An RQ queue that leaves it to ``admit.lua`` where the id of a new job goes."""

    def push_job_id(self, job_id: str, pipeline: Any = None, at_front: bool = False) -> None:
        """Push nothing."""


class Intake:
    """Accepts tickets, for one gateway process; safe to use from several threads."""

    def __init__(self, connection: Redis, max_queued: int, record_ttl_s: int = Settings.record_ttl_s) -> None:
        self._connection = connection
        self._max_queued = max_queued
        self._record_ttl_s = record_ttl_s
        self._queues: dict[str, Queue] = {}
        self._admit = connection.register_script(scripts.admit())

    def accept(
        self,
        ticket: Ticket,
        requested: Mapping[str, Any],
        idempotency_key: str | None = None,
        *,
        is_leased: bool = False,
        demand: Demand = NO_DEMAND,
        allowance: Allowance = NO_LIMITS,
        links: WebhookLinks = NO_WEBHOOK,
        retention_s: int | None = None,
        weight: int = 1,
    ) -> Accepted:
        """Enqueue ``ticket`` in the queue of its kind, unless an equal request of the same owner did so before.

        One script checks everything and writes everything, so that limits are exact however many submit at once.

        Args:
            is_leased: whether the job ends with its caller, who must renew its lease (``service.backbone.leases``).
            demand: what the job costs.
            allowance: the limits of its owner.
            links: what webhooks of the job need.
            retention_s: how long its record and results are kept after its end at most; ``None`` is as long as others.
            weight: the share of its owner, compared with those of other owners whose jobs wait.

        Raises:
            AlreadyUsed: the job id or the idempotency key belongs to another request, or the record of its request
                cannot be read.
            QueueFull: the queue holds ``max_queued`` jobs.
            LimitReached: the owner may not submit this job now.
        """
        guard = None if idempotency_key is None else _guard_key(ticket.owner, idempotency_key)
        now, queue = time.time(), self._queue(find_kind(ticket.kind).queue)
        periods = Periods.at(now)
        kept = {"charged_on": periods.day, "step_px": str(demand.step_px), "queue": queue.name}
        if retention_s is not None:
            kept["retention_s"] = str(retention_s)
        fields = new_hash(ticket, requested, now) | kept | links.fields()
        commands = self._commands(ticket, fields, queue, guard, now, is_leased)
        asked = demand.arguments(allowance) | {
            "job_id": ticket.job_id, "day_ends_s": periods.day_ends_s, "month_ends_s": periods.month_ends_s,
            "queue": queue.name, "owner": ticket.owner, "rank": rank(ticket.params, now),
            "charge": charge(demand.step_px, weight),
        }  # fmt: skip
        answer: Any = self._admit(
            keys=_admission_keys(ticket, queue, periods, guard),
            args=[repr(now), self._max_queued, json.dumps(asked), *commands],
        )
        match answer[0]:
            case b"earlier":
                earlier = dict(zip(answer[1][::2], answer[1][1::2], strict=True))
                return Accepted(_same_request(_earlier(earlier, ticket), ticket, requested), is_new=False)
            case b"full":
                metrics.REFUSALS.labels(metrics.SERVER_QUEUE).inc()
                raise QueueFull(f"the queue is full: {self._max_queued} jobs are waiting")
            case b"refused":
                limit = answer[1].decode()
                metrics.REFUSALS.labels(limit).inc()
                raise LimitReached(limit, allowance.effective[limit], answer[2], answer[3])
        metrics.count_accepted(ticket.kind, ticket.params.model_name)
        encoded = {name.encode(): value.encode() for name, value in fields.items()}
        return Accepted(read_hash(encoded, ticket.params), is_new=True)

    def _commands(
        self, ticket: Ticket, fields: dict[Any, Any], queue: Queue, guard: str | None, now: float, is_leased: bool
    ) -> Iterator[Any]:
        """The commands that write the job, each as its number of parts and the parts."""
        with self._connection.pipeline() as commands:  # collects commands, also those of RQ, and is never executed
            commands.multi()
            commands.hset(record_key(ticket.job_id), mapping=fields)
            commands.xadd(events_key(ticket.job_id), {"kind": "status", "data": JobStatus.QUEUED.value})
            commands.publish(WAKE_CHANNEL, ticket.job_id)
            self._list(commands, ticket, now)
            if is_leased:
                commands.zadd(LEASES_KEY, {ticket.job_id: now + LEASE_S})
            if guard:
                commands.set(guard, ticket.job_id, ex=IDEMPOTENCY_TTL_S)
            queue.enqueue_job(self._delivery(ticket.job_id), pipeline=commands)
            for parts, _ in commands.command_stack:
                yield len(parts)
                yield from parts

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
            self._queues[name] = _Deliveries(name, connection=self._connection, serializer=JSONSerializer)
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


def _admission_keys(ticket: Ticket, queue: Queue, periods: Periods, guard: str | None) -> list[str]:
    owner = ticket.owner
    keys = [
        record_key(ticket.job_id), queue.key, fetches_key(queue.name), owner_queued_key(owner),
        owner_running_key(owner), owner_requests_key(owner), usage_key(owner, periods.day),
        usage_key(owner, periods.month),
    ]  # fmt: skip
    return [*keys, guard] if guard else keys


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
