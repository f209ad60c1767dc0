"""The pydantic models of the routes for webhooks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.job_bodies import EventName
from service.api.validation import StrictBody
from service.backbone.setting_values import DURATION_MAX_S
from service.backbone.webhooks.endpoints import DESCRIPTION_CHARS_MAX, URL_CHARS_MAX, Endpoint
from service.backbone.webhooks.events import JOB_EVENTS
from service.backbone.webhooks.outbox import Attempt, Delivery

_DELIVERIES_MAX = 100
_GRACE_S = 24 * 3600


class EndpointBody(StrictBody):
    """A new webhook endpoint."""

    url: str = Field(min_length=1, max_length=URL_CHARS_MAX)
    events: list[EventName] = Field(
        ["job.finished"], min_length=1, max_length=len(JOB_EVENTS), description="What it gets."
    )
    description: str = Field("", max_length=DESCRIPTION_CHARS_MAX)


class EndpointChanges(StrictBody):
    """What is left out or null stays as it is."""

    url: str | None = Field(None, min_length=1, max_length=URL_CHARS_MAX)
    events: list[EventName] | None = Field(None, min_length=1, max_length=len(JOB_EVENTS))
    description: str | None = Field(None, max_length=DESCRIPTION_CHARS_MAX)
    is_on: bool | None = Field(None, description="True also forgets earlier failures.")


class SecretBody(StrictBody):
    """How a signing secret is replaced."""

    grace_s: int = Field(
        _GRACE_S, ge=0, le=DURATION_MAX_S, description="For how many seconds the earlier secrets sign as well."
    )


class DeliveryQuery(BaseModel):
    """Which deliveries are listed."""

    model_config = ConfigDict(extra="forbid")
    status: Literal["dead", "pending"] = Field("dead", description="Given up, or still to be sent.")
    limit: int = Field(20, ge=1, le=_DELIVERIES_MAX)


class EndpointView(BaseModel):
    """A webhook endpoint."""

    id: str
    url: str
    events: list[str]
    description: str
    created_at: datetime
    is_on: bool
    off_at: datetime | None = Field(description="Since when it gets nothing.")
    off_reason: str | None = Field(description="Why it gets nothing.")
    failing_since: datetime | None = Field(description="Null if the last attempt succeeded.")
    delivered_at: datetime | None = Field(description="When the last attempt succeeded.")


class NewEndpointView(EndpointView):
    """A webhook endpoint that was just created."""

    secret: str | None = Field(description="The signing secret of the API key, if this made it; shown this once.")


class EndpointList(BaseModel):
    """The webhook endpoints of the API key, the oldest first."""

    webhooks: list[EndpointView]


class SecretView(BaseModel):
    """A signing secret, which is shown this once."""

    secret: str


class AttemptView(BaseModel):
    """One attempt at a delivery."""

    delivery_id: str
    event: str
    at: datetime
    took_s: float
    status: int | None = Field(description="What the receiver answered; null if it gave no answer.")
    error: str | None = Field(description="Why there was no answer.")


class AttemptList(BaseModel):
    """The last attempts at an endpoint, the newest first."""

    attempts: list[AttemptView]


class DeliveryView(BaseModel):
    """One event for one receiver."""

    id: str
    message_id: str = Field(description="The header `webhook-id`, the same at every attempt.")
    event: str
    job_id: str | None
    endpoint_id: str | None = Field(description="Null if the URL came with the job.")
    url: str | None = Field(description="The URL that came with the job.")
    happened_at: datetime
    status: Literal["pending", "delivered", "dead"]
    attempts: int
    last_attempt: AttemptView | None


class DeliveryList(BaseModel):
    """Some deliveries of the API key, the newest first."""

    deliveries: list[DeliveryView]


class QueuedTest(BaseModel):
    """A test event that was queued."""

    delivery_id: str


def endpoint_view(endpoint: Endpoint) -> EndpointView:
    health = endpoint.health
    return EndpointView(
        id=endpoint.endpoint_id,
        url=endpoint.url,
        events=[event.value for event in endpoint.events],
        description=endpoint.description,
        created_at=datetime.fromtimestamp(endpoint.created_at, UTC),
        is_on=health.off_at is None,
        off_at=_time(health.off_at),
        off_reason=health.off_reason,
        failing_since=_time(health.failing_since),
        delivered_at=_time(health.delivered_at),
    )


def attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView(
        delivery_id=attempt.delivery_id,
        event=attempt.event,
        at=datetime.fromtimestamp(attempt.at, UTC),
        took_s=attempt.took_s,
        status=attempt.status,
        error=attempt.error,
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    last = delivery.last_attempt
    return DeliveryView(
        id=delivery.delivery_id,
        message_id=delivery.message_id,
        event=delivery.event.value,
        job_id=delivery.subject if delivery.kind else None,
        endpoint_id=delivery.target if delivery.is_to_endpoint else None,
        url=delivery.url or None,
        happened_at=datetime.fromtimestamp(delivery.at, UTC),
        status=delivery.status,  # type: ignore[arg-type]
        attempts=delivery.attempts,
        last_attempt=None if last is None else attempt_view(last),
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
