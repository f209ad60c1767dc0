"""The sender of webhooks: threads of the gateway process that take deliveries from the outbox and make attempts.

One thread claims; each attempt has a thread of its own, so that receivers do not wait for each other. Whoever dies
in an attempt leaves a lease behind, after whose end the attempt is made again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from models.jobs.urls import FetchPolicy
from service.backbone.key_records import KeyRecord
from service.backbone.keyspace import KEY_RECORDS_KEY, record_key
from service.backbone.tracing import TRACEPARENT, spans
from service.backbone.webhooks.endpoints import WebhookNotFound, WebhookStore
from service.backbone.webhooks.events import Event
from service.backbone.webhooks.outbox import Attempt, Claim, Delivery, Outbox
from service.backbone.webhooks.schedule import GIVE_UP_S, GONE, OFF_AFTER_S, Verdict, verdict_of
from service.backbone.webhooks.signing import signed_headers
from service.webhooks.attempt import Answer, post
from service.webhooks.metrics import count_attempt
from service.webhooks.payload import JobPayload, body_of

log = logging.getLogger(__name__)

ATTEMPTS_MAX = 32
"""How many attempts one sender makes at the same time."""
ATTEMPTS_PER_OWNER_MAX = 8
_LOOK_S = 0.5
"""How often the outbox is looked into although nothing was queued: attempts become due."""
_REDIS_PAUSE_S = 1.0
_STOP_S = 1.5
"""How long attempts in progress may go on when the process stops; they are made again otherwise."""


@dataclass(frozen=True)
class _Addressed:
    """Where a delivery goes, and the secrets that sign it."""

    url: str
    secrets: list[str]


class Sender:
    """Sends what is due, from :meth:`start` to :meth:`stop`."""

    def __init__(self, connection: Redis, policy: FetchPolicy, job_payload: JobPayload) -> None:
        self._connection, self._policy, self._job_payload = connection, policy, job_payload
        self._outbox, self._store = Outbox(connection), WebhookStore(connection, policy)
        self._running = Counter[str]()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing more, and wait a little for the attempts in progress."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running, _STOP_S)
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        is_told = False
        while not self._stopping.is_set():
            try:
                self._send_next()
                is_told = False
            except (RedisError, OSError) as error:
                if not is_told:
                    log.warning("webhooks wait, because the outbox cannot be read: %s", type(error).__name__)
                is_told = True
                self._stopping.wait(_REDIS_PAUSE_S)

    def _send_next(self) -> None:
        """Start the attempt that is due longest; if there is none, or no room for one, wait until that may change."""
        with self._changed:
            self._changed.wait_for(lambda: self._running.total() < ATTEMPTS_MAX or self._stopping.is_set(), _LOOK_S)
            if self._running.total() >= ATTEMPTS_MAX:
                return
            busy = [owner for owner, count in self._running.items() if count >= ATTEMPTS_PER_OWNER_MAX]
        claim = self._outbox.claim(busy)
        if claim is None:
            self._outbox.wait(_LOOK_S)
            return
        with self._changed:
            self._running[claim.owner] += 1
        threading.Thread(target=self._serve, args=[claim], name="webhook", daemon=True).start()

    def _serve(self, claim: Claim) -> None:
        try:
            self._deliver(claim)
        except (RedisError, OSError) as error:
            log.warning("an attempt at a webhook will be made again: %s", type(error).__name__)
        except Exception:
            log.exception("the webhook %s cannot be sent", claim.delivery_id)
        finally:
            with self._changed:
                self._running[claim.owner] -= 1
                if not self._running[claim.owner]:
                    del self._running[claim.owner]
                self._changed.notify_all()

    def _deliver(self, claim: Claim) -> None:
        delivery, now = claim.delivery, time.time()
        if delivery is None:
            self._outbox.settle(claim, Verdict("dropped", now))
            return
        found = self._addressed(delivery, now)
        if isinstance(found, Verdict):
            self._outbox.settle(claim, found)
            return
        fields: Any = self._connection.hgetall(record_key(delivery.subject))
        body = body_of(delivery, fields, self._job_payload)
        headers = signed_headers(delivery.message_id, int(now), body, found.secrets)
        answer = post(found.url, self._policy, {"Content-Type": "application/json", **headers}, body)
        traceparent = fields.get(TRACEPARENT.encode())
        if (tracing := spans()) is not None and traceparent is not None:
            tracing.webhook(traceparent.decode(), delivery.subject, delivery.event.value, now, answer.status)
        self._settle(claim, delivery, answer, now)

    def _addressed(self, delivery: Delivery, now: float) -> _Addressed | Verdict:
        """Where the delivery goes, or what becomes of it without an attempt."""
        dead, dropped = Verdict("dead", now), Verdict("dropped", now)
        text: Any = self._connection.hget(KEY_RECORDS_KEY, delivery.owner)
        record = None if text is None else KeyRecord.from_json(text)
        secrets = self._store.secrets(delivery.owner)
        if not secrets:
            return dropped
        if now - delivery.queued_at > GIVE_UP_S or (record and (record.problem(now) or not record.rules.webhooks)):
            return dead
        if not delivery.is_to_endpoint:
            return _Addressed(delivery.url, secrets)
        try:
            endpoint = self._store.get(delivery.owner, delivery.target)
        except WebhookNotFound:
            return dropped
        if endpoint.health.off_at is not None and delivery.event is not Event.TEST:
            return dead
        return _Addressed(endpoint.url, secrets)

    def _settle(self, claim: Claim, delivery: Delivery, answer: Answer, began: float) -> None:
        now = time.time()
        attempt = Attempt(
            delivery_id=delivery.delivery_id,
            event=delivery.event.value,
            at=began,
            took_s=round(now - began, 3),
            status=answer.status,
            error=answer.error,
        )
        verdict = verdict_of(delivery.event, delivery.attempts + 1, answer.status, answer.wait_s, now)
        count_attempt(delivery, attempt, verdict.outcome, now)
        failing_since = self._outbox.settle(claim, verdict, attempt, answer.wait_s)
        if delivery.is_to_endpoint and verdict.outcome != "delivered":
            reason = _reason_to_switch_off(answer, failing_since, now)
            if reason is not None:
                self._store.switch_off(delivery.owner, delivery.target, reason)


def _reason_to_switch_off(answer: Answer, failing_since: float | None, now: float) -> str | None:
    if answer.status == GONE:
        return "it answered 410 Gone"
    if failing_since is None or now - failing_since < OFF_AFTER_S:
        return None
    last = answer.error or f"it answered {answer.status}"
    return f"no attempt has succeeded for {(now - failing_since) / 86_400:.1f} days; the last one: {last}"
