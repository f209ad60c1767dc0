"""The outbox of webhooks: deliveries that wait, those that were given up, and the attempts that were made.

The scripts that change the status of a job queue its deliveries, so that no change is without them. Senders, of which
every gateway has one, take them from here. A delivery is one event for one receiver (the target), which is an endpoint
or a URL that came with a job.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from redis import Redis

from service.backbone import scripts
from service.backbone.keyspace import (
    WEBHOOK_WAKE_KEY,
    webhook_dead_key,
    webhook_delivery_key,
    webhook_log_key,
    webhook_pending_key,
)
from service.backbone.webhooks.endpoints import WebhookNotFound
from service.backbone.webhooks.events import Event
from service.backbone.webhooks.schedule import Verdict

LEASE_S = 60.0
"""For how long a sender holds a lane; longer than any attempt takes."""
_ID_CHARS_MAX = 200


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt at a delivery."""

    delivery_id: str
    event: str
    at: float
    """In seconds since the epoch."""
    took_s: float
    status: int | None
    """What the receiver answered; ``None`` if it gave no answer."""
    error: str | None
    """Why there was no answer."""

    @classmethod
    def from_json(cls, text: bytes) -> Attempt:
        """The attempt in the text that Redis holds."""
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One event for one receiver."""

    delivery_id: str
    message_id: str
    """The ``webhook-id``, which is the same at every attempt."""
    owner: str
    target: str
    url: str
    """Empty if the target is an endpoint, which has the URL."""
    event: Event
    subject: str
    """The id of the job; of a test, a random text."""
    kind: str
    job_status: str
    step: int
    steps: int
    at: float
    """When the event happened, in seconds since the epoch."""
    queued_at: float
    status: str
    """``pending``, ``delivered`` or ``dead``."""
    attempts: int
    last_attempt: Attempt | None

    @property
    def is_to_endpoint(self) -> bool:
        """Whether the target is an endpoint of the key."""
        return not self.url


@dataclass(frozen=True)
class Claim:
    """A lane that this sender holds, and the delivery at its head; ``None`` if its data have expired."""

    lane: str
    delivery_id: str
    delivery: Delivery | None

    @property
    def owner(self) -> str:
        """Whose delivery it is."""
        return self.lane.partition(" ")[0]


class Outbox:
    """Reads and changes the outbox; its methods block, and are safe to use from several threads."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection
        self._claim = connection.register_script(scripts.webhook_claim())
        self._settle = connection.register_script(scripts.webhook_settle())
        self._replay = connection.register_script(scripts.webhook_replay())
        self._test = connection.register_script(scripts.webhook_test())

    # For senders

    def wait(self, timeout_s: float) -> None:
        """Return when something may have become due, or after ``timeout_s``."""
        self._connection.blpop([WEBHOOK_WAKE_KEY], timeout_s)

    def claim(self, busy: Iterable[str]) -> Claim | None:
        """Take the lane that is due longest, but none of the owners in ``busy``; ``None`` if nothing is due."""
        now = time.time()
        found: Any = self._claim(args=[repr(now), repr(now + LEASE_S), json.dumps(dict.fromkeys(busy, 1))])
        if not found:
            return None
        lane, delivery_id, fields = found
        hash_of = dict(zip(fields[::2], fields[1::2], strict=True))
        return Claim(lane.decode(), delivery_id.decode(), _read(hash_of) if hash_of else None)

    def settle(
        self, claim: Claim, verdict: Verdict, attempt: Attempt | None = None, wait_s: float = 0.0
    ) -> float | None:
        """Write what became of a delivery, and give its lane back; returns since when the receiver has failed, if so.

        Args:
            attempt: ``None`` if none was made.
            wait_s: for how long the receiver wants to be left alone.
        """
        message_id = "" if claim.delivery is None else claim.delivery.message_id
        entry = "" if attempt is None else json.dumps(asdict(attempt))
        failing_since: Any = self._settle(
            args=[
                repr(time.time()), claim.lane, claim.delivery_id, message_id, verdict.outcome, repr(verdict.due),
                entry, repr(wait_s),
            ]
        )  # fmt: skip
        return None if failing_since is None else float(failing_since)

    # For the holders of keys

    def test(self, owner: str, endpoint_id: str) -> str:
        """Queue a test event for the endpoint; returns the id of the delivery, or raises :class:`WebhookNotFound`."""
        queued: Any = self._test(args=[repr(time.time()), owner, endpoint_id, secrets.token_hex(8)])
        if not queued:
            raise WebhookNotFound("too many deliveries of this API key wait for a test to be queued")
        return str(queued.decode())

    def replay(self, owner: str, delivery_id: str) -> Delivery:
        """Send the delivery again, with all its attempts; raises :class:`WebhookNotFound`."""
        if not self._replay(args=[repr(time.time()), owner, delivery_id[:_ID_CHARS_MAX]]):
            raise WebhookNotFound(f"there is no webhook delivery {delivery_id[:_ID_CHARS_MAX]!r}")
        return self.get(owner, delivery_id)

    def get(self, owner: str, delivery_id: str) -> Delivery:
        """The delivery of that id; raises :class:`WebhookNotFound`."""
        fields: Any = self._connection.hgetall(webhook_delivery_key(delivery_id[:_ID_CHARS_MAX]))
        if not fields or fields[b"owner"].decode() != owner:
            raise WebhookNotFound(f"there is no webhook delivery {delivery_id[:_ID_CHARS_MAX]!r}")
        return _read(fields)

    def pending(self, owner: str, limit: int) -> list[Delivery]:
        """The deliveries of the key that wait, the newest first."""
        return self._list(webhook_pending_key(owner), limit)

    def dead(self, owner: str, limit: int) -> list[Delivery]:
        """The deliveries of the key that were given up, the newest first."""
        return self._list(webhook_dead_key(owner), limit)

    def attempts(self, owner: str, target: str) -> list[Attempt]:
        """The last attempts at a receiver, the newest first."""
        found: Any = self._connection.lrange(webhook_log_key(owner, target), 0, -1)
        return [Attempt.from_json(text) for text in found]

    def _list(self, key: str, limit: int) -> list[Delivery]:
        ids: Any = self._connection.zrevrange(key, 0, limit - 1)
        with self._connection.pipeline(transaction=False) as pipeline:
            for delivery_id in ids:
                pipeline.hgetall(webhook_delivery_key(delivery_id.decode()))
            found = pipeline.execute()
        gone = [delivery_id for delivery_id, fields in zip(ids, found, strict=True) if not fields]
        if gone:
            self._connection.zrem(key, *gone)
        return [_read(fields) for fields in found if fields]


def _read(fields: Mapping[bytes, bytes]) -> Delivery:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    last = fields.get(b"last_attempt")
    return Delivery(
        delivery_id=text["id"],
        message_id=text["message_id"],
        owner=text["owner"],
        target=text["target"],
        url=text["url"],
        event=Event.of_short(text["event"]),
        subject=text["subject"],
        kind=text.get("kind", ""),
        job_status=text.get("job_status", ""),
        step=int(text.get("step") or 0),
        steps=int(text.get("steps") or 0),
        at=float(text["at"]),
        queued_at=float(text["queued_at"]),
        status=text["status"],
        attempts=int(text["attempts"]),
        last_attempt=None if last is None else Attempt.from_json(last),
    )
