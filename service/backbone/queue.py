"""The intake of jobs: one Redis script checks limits, writes the ticket to the ledger and enqueues it in RQ."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from rq import Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer

from models.errors import PhotogramError
from models.jobs.kinds import DIFFUSION_QUEUE, UnknownKind, find_kind
from models.jobs.records import JobRecord, JobStatus
from models.jobs.sources import image_sources
from models.jobs.tickets import Ticket
from service.backbone import metrics, scripts
from service.backbone.allowances import NO_DEMAND, NO_LIMITS, Allowance, Demand, LimitReached
from service.backbone.connections import require_replicas
from service.backbone.keyspace import (
    DUE_KEY,
    LEASES_KEY,
    WAKE_CHANNEL,
    events_key,
    fetches_key,
    idempotency_key,
    image_users_key,
    owner_jobs_key,
    owner_label_key,
    owner_queued_key,
    owner_requests_key,
    owner_running_key,
    record_key,
    usage_key,
)
from service.backbone.leases import LEASE_S
from service.backbone.records import UnreadableRecord, label_digest, new_hash, read_hash
from service.backbone.settings import Settings
from service.backbone.tracing import carried_fields
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


_APART_S = 1e-6
"""The time between two jobs of a batch, so that lists have them in its order."""


class QueueFull(PhotogramError):
    """The queue holds as many jobs as it may."""


class AlreadyUsed(PhotogramError):
    """The job id or idempotency key belongs to another request."""


@dataclass(frozen=True)
class Accepted:
    """A job in the ledger: a new one, or the one of an equal earlier request."""

    record: JobRecord
    is_new: bool


@dataclass(frozen=True)
class Entry:
    """A job that somebody wants to be accepted; :meth:`Intake.accept` says what the fields are."""

    ticket: Ticket
    requested: Mapping[str, Any]
    demand: Demand = NO_DEMAND
    idempotency_key: str | None = None
    is_leased: bool = False
    links: WebhookLinks = NO_WEBHOOK
    retention_s: int | None = None
    weight: int = 1


@dataclass(frozen=True)
class _Offer:
    """An entry as ``admit.lua`` is told of it."""

    entry: Entry
    allowance: Allowance
    fields: dict[str, str]
    """The record that is written."""
    keys: list[str]
    arguments: list[Any]


def open_queue(connection: Redis, name: str = DIFFUSION_QUEUE) -> Queue:
    """The RQ queue called ``name``, with the settings that gateway and workers must share."""
    return Queue(name, connection=connection, serializer=JSONSerializer, default_timeout=-1)


class _Deliveries(Queue):  # type: ignore[misc]
    """An RQ queue that leaves it to ``admit.lua`` where the id of a new job goes."""

    def push_job_id(self, job_id: str, pipeline: Any = None, at_front: bool = False) -> None:
        """Push nothing."""


class Intake:
    """Accepts tickets, for one gateway process; safe to use from several threads."""

    def __init__(
        self,
        connection: Redis,
        max_queued: int,
        record_ttl_s: int = Settings.record_ttl_s,
        wait_replicas: int = Settings.redis_wait_replicas,
    ) -> None:
        self._connection = connection
        self._max_queued, self._wait_replicas = max_queued, wait_replicas
        self.record_ttl_s = record_ttl_s
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
        entry = Entry(ticket, requested, demand, idempotency_key, is_leased, links, retention_s, weight)
        offer = self._offer(entry, allowance, time.time())
        accepted = self._accepted(offer, self._admit(keys=offer.keys, args=offer.arguments))
        self._require_replicas(accepted)
        return accepted

    def accept_all(self, entries: Sequence[Entry], allowance: Allowance) -> list[Accepted]:
        """Enqueue all jobs of one owner, or none, in one transaction; raises as :meth:`accept`.

        The demand of the first entry needs room for all of them. Jobs of a batch have consecutive times, in its order.
        """
        now, leader = time.time(), record_key(entries[0].ticket.job_id)
        first = self._offer(entries[0], allowance, now)
        others = [
            self._offer(entry, allowance, now + index * _APART_S, leader=leader)
            for index, entry in enumerate(entries[1:], 1)
        ]
        answers = self._admit_all([first, *others], is_transaction=True)
        accepted = [self._accepted(first, answers[0])]
        if any(answer[0] == b"skipped" for answer in answers):
            raise AlreadyUsed("the idempotency key belongs to another batch")
        accepted += [self._accepted(*each) for each in zip(others, answers[1:], strict=True)]
        self._require_replicas(accepted[-1])
        return accepted

    def accept_each(self, entries: Sequence[Entry], allowance: Allowance) -> list[Accepted | PhotogramError]:
        """Enqueue those jobs of one owner that may be; for each of the others the error that :meth:`accept` raises."""
        now = time.time()
        offers = [self._offer(entry, allowance, now + index * _APART_S) for index, entry in enumerate(entries)]
        found: list[Accepted | PhotogramError] = []
        for offer, answer in zip(offers, self._admit_all(offers, is_transaction=False), strict=True):
            try:
                found.append(self._accepted(offer, answer))
            except (AlreadyUsed, QueueFull, LimitReached) as error:
                found.append(error)
        if last := [each for each in found if isinstance(each, Accepted)][-1:]:
            self._require_replicas(*last)
        return found

    def try_out(self, ticket: Ticket, demand: Demand, allowance: Allowance) -> QueueFull | LimitReached | None:
        """Why the job would be refused now; nothing is enqueued, but the request is counted.

        Raises:
            LimitReached: the owner has sent too many requests.
        """
        offer = self._offer(Entry(ticket, {}, demand), allowance, time.time(), dry_run=True)
        refusal = self._refusal(offer, self._admit(keys=offer.keys, args=offer.arguments[:3]))
        if isinstance(refusal, LimitReached) and refusal.limit == "requests_per_minute":
            metrics.REFUSALS.labels(refusal.limit).inc()
            raise refusal
        return refusal

    def _require_replicas(self, last: Accepted) -> None:
        """Let jobs survive the loss of the primary, if the settings ask for that; raises :class:`RedisError`."""
        require_replicas(self._connection, self._wait_replicas, record_key(last.record.job_id))

    def _admit_all(self, offers: Sequence[_Offer], *, is_transaction: bool) -> list[Any]:
        with self._connection.pipeline(transaction=is_transaction) as pipeline:
            for offer in offers:
                self._admit(keys=offer.keys, args=offer.arguments, client=pipeline)
            answers: list[Any] = pipeline.execute()
        return answers

    def _offer(self, entry: Entry, allowance: Allowance, now: float, **further: Any) -> _Offer:
        """What ``admit.lua`` is called with; ``further`` is told beside the demand."""
        now = round(now, 6)  # as clients read it, so that a list "created after" a job begins with it
        ticket, key = entry.ticket, entry.idempotency_key
        guard = None if key is None else _guard_key(ticket.owner, key)
        queue = self._queue(find_kind(ticket.kind).queue)
        periods = Periods.at(now)
        kept = {"charged_on": periods.day, "step_px": str(entry.demand.step_px), "queue": queue.name}
        if entry.retention_s is not None:
            kept["retention_s"] = str(entry.retention_s)
        kept |= carried_fields(ticket.job_id)
        fields = new_hash(ticket, entry.requested, now) | kept | entry.links.fields()
        asked = entry.demand.arguments(allowance) | {
            "job_id": ticket.job_id, "day_ends_s": periods.day_ends_s, "month_ends_s": periods.month_ends_s,
            "queue": queue.name, "owner": ticket.owner, "rank": rank(ticket.params, now),
            "charge": charge(entry.demand.step_px, entry.weight), **further,
        }  # fmt: skip
        commands = self._commands(ticket, fields, queue, guard, now, entry.is_leased)
        arguments = [repr(now), self._max_queued, json.dumps(asked), *commands]
        return _Offer(entry, allowance, fields, _admission_keys(ticket, queue, periods, guard), arguments)

    def _accepted(self, offer: _Offer, answer: Any) -> Accepted:
        """What the answer of ``admit.lua`` means; raises as :meth:`accept`."""
        ticket, refusal = offer.entry.ticket, self._refusal(offer, answer)
        if refusal is not None:
            name = refusal.limit if isinstance(refusal, LimitReached) else metrics.SERVER_QUEUE
            metrics.REFUSALS.labels(name).inc()
            raise refusal
        if answer[0] == b"earlier":
            earlier = dict(zip(answer[1][::2], answer[1][1::2], strict=True))
            record = _same_request(_earlier(earlier, ticket), ticket, offer.entry.requested)
            return Accepted(record, is_new=False)
        metrics.count_accepted(ticket.kind, ticket.params.model_name)
        encoded = {name.encode(): value.encode() for name, value in offer.fields.items()}
        return Accepted(read_hash(encoded, ticket.params), is_new=True)

    def _refusal(self, offer: _Offer, answer: Any) -> QueueFull | LimitReached | None:
        if answer[0] == b"full":
            return QueueFull(f"the queue is full: at most {self._max_queued} jobs may be waiting")
        if answer[0] == b"refused":
            limit = answer[1].decode()
            return LimitReached(limit, offer.allowance.effective[limit], answer[2], answer[3])
        return None

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
            self._note_sources(commands, ticket)
            if deadlines := _deadlines(ticket, now):
                commands.zadd(DUE_KEY, deadlines)
            if is_leased:
                commands.zadd(LEASES_KEY, {ticket.job_id: now + LEASE_S})
            if guard:
                commands.set(guard, ticket.job_id, ex=IDEMPOTENCY_TTL_S)
            queue.enqueue_job(self._delivery(ticket.job_id), pipeline=commands)
            for parts, _ in commands.command_stack:
                yield len(parts)
                yield from parts

    def _list(self, transaction: Any, ticket: Ticket, now: float) -> None:
        """Add the job to those of its owner and its labels; now and then, drop those whose records may have expired."""
        labels = [owner_label_key(ticket.owner, label_digest(label)) for label in ticket.options.labels]
        is_trimmed = random.random() < TRIM_PROBABILITY
        for key in (owner_jobs_key(ticket.owner), *labels):
            transaction.zadd(key, {ticket.job_id: now})
            transaction.expire(key, self.record_ttl_s)
            if is_trimmed:
                transaction.zremrangebyscore(key, "-inf", now - self.record_ttl_s)
                transaction.zremrangebyrank(key, 0, -OWNER_JOBS_MAX - 1)

    def _note_sources(self, transaction: Any, ticket: Ticket) -> None:
        """Note that the job starts from images of other jobs, which must stay for it when those are deleted."""
        for image_id in image_sources(ticket.params):
            transaction.sadd(image_users_key(image_id), ticket.job_id)
            transaction.expire(image_users_key(image_id), 2 * self.record_ttl_s)

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


def _deadlines(ticket: Ticket, now: float) -> dict[str, float]:
    """When something happens to the job whatever workers do, as members of ``DUE_KEY``."""
    options = ticket.options
    after = {"start": options.start_within_s, "end": options.cancel_after_s}
    return {f"{event}\n{ticket.job_id}": now + seconds for event, seconds in after.items() if seconds is not None}


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
