"""The body of a webhook: the type of the event, its time, and the job as ``GET /v1/jobs/{id}`` gives it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from models.jobs.kinds import UnknownKind
from models.jobs.records import JobRecord
from service.backbone.records import UnreadableRecord, read_hash
from service.backbone.webhooks.events import Event
from service.backbone.webhooks.outbox import Delivery

PAYLOAD_MAX_BYTES = 64 << 10
"""A job whose view is larger is told without its parameters and results."""

JobPayload = Callable[[JobRecord, Delivery, str], dict[str, Any]]
"""Makes the view of a job, JSON-ready, as it was at the event, with links that start with the third argument."""


def body_of(delivery: Delivery, job_fields: Mapping[bytes, bytes], job_payload: JobPayload) -> bytes:
    """The body of the webhook, the same at every attempt for as long as the record of the job is kept.

    Args:
        job_fields: the hash of the job's record; empty if it has expired or was deleted.
    """
    happened = datetime.fromtimestamp(delivery.at, UTC).isoformat().replace("+00:00", "Z")
    envelope = {"type": delivery.event.value, "timestamp": happened}
    if delivery.event is Event.TEST:
        return _json(envelope | {"data": {}})
    base_url = job_fields.get(b"base_url", b"").decode()
    link = {"url": f"{base_url}/v1/jobs/{delivery.subject}"}
    record = _record(delivery, job_fields)
    if record is not None:
        body = _json(envelope | {"data": job_payload(record, delivery, base_url) | link})
        if len(body) <= PAYLOAD_MAX_BYTES:
            return body
    short = {"id": delivery.subject, "kind": delivery.kind, "status": delivery.job_status, "is_shortened": True}
    return _json(envelope | {"data": short | link})


def _record(delivery: Delivery, job_fields: Mapping[bytes, bytes]) -> JobRecord | None:
    """The record of the job; ``None`` if it is gone, cannot be read, or is that of a later job of another key."""
    try:
        record = read_hash(job_fields) if job_fields else None
    except (UnknownKind, UnreadableRecord):
        return None
    return record if record is not None and record.owner == delivery.owner else None


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
