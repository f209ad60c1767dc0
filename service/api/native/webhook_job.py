"""A job as webhooks tell of it: the view that ``GET /v1/jobs/{id}`` gives, as it was at the event."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models.jobs.records import JobRecord, JobStatus
from service.api.native.views import at_status, job_view
from service.backbone.webhooks.events import Event
from service.backbone.webhooks.outbox import Delivery


def webhook_job(record: JobRecord, delivery: Delivery, base_url: str) -> dict[str, Any]:
    """The view, JSON-ready, with links that start with ``base_url``."""
    if delivery.event is not Event.FINISHED:
        record = replace(at_status(record, JobStatus.RUNNING), step=delivery.step, steps=delivery.steps, loading=None)
    return job_view(record, base_url).model_dump(mode="json")
