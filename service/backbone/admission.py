"""What ``admit.lua`` is told of a job that somebody wants to be accepted, and what its answers mean."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import PhotogramError
from models.jobs.kinds import UnknownKind, find_kind
from models.jobs.records import JobRecord
from models.jobs.sources import image_sources
from models.jobs.tickets import Ticket
from service.backbone.allowances import NO_DEMAND, Allowance, Demand, LimitReached, Remainder
from service.backbone.keyspace import (
    fetches_key,
    idempotency_key,
    owner_queued_key,
    owner_requests_key,
    owner_running_key,
    record_key,
    rq_queue_key,
    usage_key,
)
from service.backbone.leases import LEASE_S
from service.backbone.records import UnreadableRecord, label_digest, new_hash, read_hash
from service.backbone.tracing import carried_fields
from service.backbone.turns import charge, rank
from service.backbone.usage import Periods
from service.backbone.webhooks.events import NO_WEBHOOK, WebhookLinks

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
    remainders: tuple[Remainder, ...] = ()
    """What is left of the limits of its owner; empty for an earlier job."""


@dataclass(frozen=True)
class Entry:
    """A job that somebody wants to be accepted."""

    ticket: Ticket
    requested: Mapping[str, Any]
    """What the record keeps as the request; a repeated request must equal it."""
    demand: Demand = NO_DEMAND
    """What the job asks of the limits of its owner."""
    idempotency_key: str | None = None
    is_leased: bool = False
    """Whether the job ends with its caller, who must renew its lease (``service.backbone.leases``)."""
    links: WebhookLinks = NO_WEBHOOK
    """What webhooks of the job need."""
    retention_s: int | None = None
    """How long its record and results are kept after its end at most; ``None`` is as long as others."""
    weight: int = 1
    """The share of its owner, compared with those of other owners whose jobs wait."""


def moment(now: float, index: int = 0) -> float:
    """When a job is accepted: ``now`` in whole microseconds, as clients read it, and one more for each job before it.

    A list "created after" a job so begins with it, and lists have the jobs of a batch in its order.

    Args:
        now: in seconds since the epoch.
        index: the place of the job in its batch.
    """
    return (round(now * 1e6) + index) / 1e6


@dataclass(frozen=True)
class Offer:
    """An entry as ``admit.lua`` is told of it."""

    entry: Entry
    allowance: Allowance
    fields: Mapping[str, str]
    """The record that is written."""
    keys: Sequence[str]
    told: Mapping[str, Any]
    """The object that the script is told, but for the settings of the server."""

    @classmethod
    def of(cls, entry: Entry, allowance: Allowance, now: float, **further: Any) -> Offer:
        """The offer of a job.

        Args:
            allowance: the limits of its owner.
            now: when it is accepted (:func:`moment`).
            further: what the script is told besides (``scripts.admit``).
        """
        ticket, periods = entry.ticket, Periods.at(now)
        queue = find_kind(ticket.kind).queue
        fields = _fields(entry, queue, periods, now)
        told = {
            **entry.demand.arguments(allowance), "now": now,
            "day_ends_s": periods.day_ends_s, "month_ends_s": periods.month_ends_s,
            "queue": queue, "owner": ticket.owner, "job_id": ticket.job_id,
            "rank": rank(ticket.params, now), "charge": charge(entry.demand.step_px, entry.weight),
            "fields": _flat(fields), "sources": image_sources(ticket.params),
            "labels": [label_digest(label) for label in ticket.options.labels], "deadlines": _deadlines(ticket, now),
            "leased_until": now + LEASE_S if entry.is_leased else None,
            "is_trimmed": random.random() < TRIM_PROBABILITY,
            **further,
        }  # fmt: skip
        return cls(entry, allowance, fields, _keys(entry, queue, periods), told)

    @property
    def queue(self) -> str:
        """The name of the queue of its kind."""
        return str(self.told["queue"])

    def refusal(self, answer: Any, max_queued: int) -> QueueFull | LimitReached | None:
        """Why the script did not accept the job, as far as that is a limit; ``max_queued`` is that of the server."""
        if answer[0] == b"full":
            return QueueFull(f"the queue is full: at most {max_queued} jobs may be waiting")
        if answer[0] == b"refused":
            limit = answer[1].decode()
            return LimitReached(limit, self.allowance.effective[limit], answer[2], answer[3])
        return None

    def accepted(self, answer: Any) -> Accepted:
        """The job that the script accepted now or earlier; raises :class:`AlreadyUsed`."""
        ticket = self.entry.ticket
        if answer[0] == b"earlier":
            earlier = dict(zip(answer[1][::2], answer[1][1::2], strict=True))
            return Accepted(_same_request(_earlier(earlier, ticket), ticket, self.entry.requested), is_new=False)
        encoded = {name.encode(): value.encode() for name, value in self.fields.items()}
        return Accepted(read_hash(encoded, ticket.params), is_new=True, remainders=tuple(self._remainders(answer[1:])))

    def _remainders(self, found: Sequence[Any]) -> Iterator[Remainder]:
        highs = self.allowance.effective
        for name, left, whole_s in zip(found[::3], found[1::3], found[2::3], strict=True):
            yield Remainder(name.decode(), highs[name.decode()], left, whole_s)


def _keys(entry: Entry, queue: str, periods: Periods) -> list[str]:
    owner, key = entry.ticket.owner, entry.idempotency_key
    keys = [
        record_key(entry.ticket.job_id), rq_queue_key(queue), fetches_key(queue), owner_queued_key(owner),
        owner_running_key(owner), owner_requests_key(owner), usage_key(owner, periods.day),
        usage_key(owner, periods.month),
    ]  # fmt: skip
    return keys if key is None else [*keys, idempotency_key(owner, hashlib.sha256(key.encode()).hexdigest())]


def _fields(entry: Entry, queue: str, periods: Periods, now: float) -> dict[str, str]:
    """The record: what it holds of every job, and what the scripts need of this one."""
    kept = {"charged_on": periods.day, "step_px": str(entry.demand.step_px), "queue": queue}
    if entry.retention_s is not None:
        kept["retention_s"] = str(entry.retention_s)
    if entry.weight != 1:
        kept["weight"] = str(entry.weight)
    kept |= carried_fields(entry.ticket.job_id)
    return new_hash(entry.ticket, entry.requested, now) | kept | entry.links.fields()


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


def _deadlines(ticket: Ticket, now: float) -> dict[str, float]:
    """When something happens to the job whatever workers do, by the event (``DUE_KEY``)."""
    after = {"start": ticket.options.start_within_s, "end": ticket.options.cancel_after_s}
    return {event: now + seconds for event, seconds in after.items() if seconds is not None}


def _earlier(fields: Mapping[bytes, bytes], ticket: Ticket) -> JobRecord:
    try:
        return read_hash(fields)
    except (UnknownKind, UnreadableRecord) as error:
        message = f"the id {ticket.job_id!r} or the idempotency key belongs to an earlier job that cannot be read"
        raise AlreadyUsed(message) from error


def _same_request(record: JobRecord, ticket: Ticket, requested: Mapping[str, Any]) -> JobRecord:
    if record.owner != ticket.owner or record.requested != json.loads(json.dumps(requested)):
        used = "the idempotency key" if record.job_id != ticket.job_id else f"the id {ticket.job_id!r}"
        raise AlreadyUsed(f"{used} belongs to another request")
    return record
