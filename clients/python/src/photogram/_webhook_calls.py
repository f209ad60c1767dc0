"""The webhook endpoints of an API key: their objects, and the flows of `client.webhooks`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, TypeVar
from urllib.parse import quote

from ._flows import Flow, Flows
from ._models import Payload
from ._paths import path_part

T = TypeVar("T")
FINISHED = ("job.finished",)
DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A URL that gets events of all jobs of the API key."""

    id: str
    url: str
    events: tuple[str, ...]
    description: str
    is_on: bool
    off_reason: str | None
    """Why the endpoint gets nothing; None if it is on."""
    failing_since: datetime | None
    """None if the last attempt succeeded."""
    secret: str | None = None
    """The signing secret, only in the answer that made it."""

    @classmethod
    def from_payload(cls, payload: Payload) -> "WebhookEndpoint":
        return cls(
            id=str(payload["id"]),
            url=str(payload["url"]),
            events=tuple(payload["events"]),
            description=str(payload["description"]),
            is_on=bool(payload["is_on"]),
            off_reason=payload.get("off_reason"),
            failing_since=_time(payload.get("failing_since")),
            secret=payload.get("secret"),
        )


@dataclass(frozen=True, slots=True)
class WebhookAttempt:
    """One attempt at a delivery: the status that the receiver answered with, or the error."""

    delivery_id: str
    event: str
    at: datetime
    took_s: float
    status: int | None
    error: str | None

    @classmethod
    def from_payload(cls, payload: Payload) -> "WebhookAttempt":
        at = datetime.fromisoformat(payload["at"])
        values = (payload["delivery_id"], payload["event"], at, payload["took_s"])
        return cls(*values, status=payload["status"], error=payload["error"])


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """One event for one receiver; `status` is `pending`, `delivered` or `dead`."""

    id: str
    event: str
    job_id: str | None
    endpoint_id: str | None
    url: str | None
    status: str
    attempts: int
    last_attempt: WebhookAttempt | None

    @classmethod
    def from_payload(cls, payload: Payload) -> "WebhookDelivery":
        names = ("id", "event", "job_id", "endpoint_id", "url", "status", "attempts")
        last = payload.get("last_attempt")
        return cls(
            **{name: payload[name] for name in names},
            last_attempt=None if last is None else WebhookAttempt.from_payload(last),
        )


# Aliases, because the classes below have a method `list`.
Endpoints: TypeAlias = list[WebhookEndpoint]
Attempts: TypeAlias = list[WebhookAttempt]
Deliveries: TypeAlias = list[WebhookDelivery]


class WebhookCalls:
    """The flows, which the clients perform."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows

    def list(self) -> Flow[Endpoints]:
        return self._flows.call("GET", "/v1/webhooks", _each("webhooks", WebhookEndpoint.from_payload))

    def add(self, url: str, events: Sequence[str], description: str) -> Flow[WebhookEndpoint]:
        body = {"url": url, "events": list(events), "description": description}
        return self._flows.call("POST", "/v1/webhooks", WebhookEndpoint.from_payload, body)

    def change(self, endpoint_id: str, changes: Mapping[str, object]) -> Flow[WebhookEndpoint]:
        return self._flows.call("PATCH", _path(endpoint_id), WebhookEndpoint.from_payload, changes)

    def remove(self, endpoint_id: str) -> Flow[None]:
        return self._flows.send("DELETE", _path(endpoint_id))

    def test(self, endpoint_id: str) -> Flow[str]:
        return self._flows.call("POST", f"{_path(endpoint_id)}/test", lambda payload: str(payload["delivery_id"]))

    def attempts(self, endpoint_id: str) -> Flow[Attempts]:
        path = f"{_path(endpoint_id)}/attempts"
        return self._flows.call("GET", path, _each("attempts", WebhookAttempt.from_payload))

    def deliveries(self, status: str, limit: int) -> Flow[Deliveries]:
        path = f"/v1/webhook-deliveries?status={quote(status)}&limit={limit}"
        return self._flows.call("GET", path, _each("deliveries", WebhookDelivery.from_payload))

    def replay(self, delivery_id: str) -> Flow[WebhookDelivery]:
        path = f"/v1/webhook-deliveries/{path_part(delivery_id, 'a delivery')}/replay"
        return self._flows.call("POST", path, WebhookDelivery.from_payload)

    def rotate_secret(self, grace_s: int) -> Flow[str]:
        body = {"grace_s": grace_s}
        return self._flows.call("POST", "/v1/webhooks/secret", lambda payload: str(payload["secret"]), body)


def _each(name: str, entry: Callable[[Payload], T]) -> Callable[[Payload], list[T]]:
    return lambda payload: [entry(each) for each in payload[name]]


def _path(endpoint_id: str) -> str:
    return f"/v1/webhooks/{path_part(endpoint_id, 'an endpoint')}"


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
