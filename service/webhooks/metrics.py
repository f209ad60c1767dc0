"""The metrics of the attempts that this gateway made at webhooks; those of the outbox are the cluster's."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from service.backbone.metrics import REGISTRY, WAIT_BUCKETS_S
from service.backbone.webhooks.outbox import Attempt, Delivery

ATTEMPTS = Counter(
    "photogram_webhook_attempts",
    "Attempts at webhooks: delivered, pending (tried again later), dead (given up) or dropped.",
    ["event", "outcome"],
    registry=REGISTRY,
)
ATTEMPT_SECONDS = Histogram(
    "photogram_webhook_attempt_seconds", "Seconds until a receiver answered, or the attempt failed.", registry=REGISTRY
)
DELAY_SECONDS = Histogram(
    "photogram_webhook_delay_seconds",
    "Seconds from an event, or its replay, to the answer by which it was delivered.",
    ["event"],
    buckets=WAIT_BUCKETS_S,
    registry=REGISTRY,
)


def count_attempt(delivery: Delivery, attempt: Attempt, outcome: str, now: float) -> None:
    """Count an attempt that ended at ``now``, in seconds since the epoch."""
    event = delivery.event.value
    ATTEMPTS.labels(event, outcome).inc()
    ATTEMPT_SECONDS.observe(attempt.took_s)
    if outcome == "delivered":
        DELAY_SECONDS.labels(event).observe(max(0.0, now - delivery.queued_at))
