"""The webhook endpoints of an API key: their objects, and the requests of `client.webhooks`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

from ._flows import Flow, Flows
from ._models import Payload

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
    """The requests; `Webhooks` and `AsyncWebhooks` perform them."""

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
        path = f"/v1/webhook-deliveries/{quote(delivery_id, safe='')}/replay"
        return self._flows.call("POST", path, WebhookDelivery.from_payload)

    def rotate_secret(self, grace_s: int) -> Flow[str]:
        body = {"grace_s": grace_s}
        return self._flows.call("POST", "/v1/webhooks/secret", lambda payload: str(payload["secret"]), body)


class Webhooks:
    """`client.webhooks`: the webhook endpoints of the API key, and the deliveries to them.

    `photogram.webhooks.verify` is for those who receive webhooks.
    """

    def __init__(self, flows: Flows, run: Callable[[Flow[Any]], Any]) -> None:
        self._calls, self._run = WebhookCalls(flows), run

    def list(self) -> Endpoints:
        """All endpoints, the oldest first."""
        return self._perform(self._calls.list())

    def add(self, url: str, events: Sequence[str] = FINISHED, description: str = "") -> WebhookEndpoint:
        """Have events of all jobs sent to `url`; the first endpoint has the signing secret. Raises InvalidParams."""
        return self._perform(self._calls.add(url, events, description))

    def change(self, endpoint_id: str, **changes: object) -> WebhookEndpoint:
        """Change `url`, `events`, `description` or `is_on`; raises NotFound, InvalidParams."""
        return self._perform(self._calls.change(endpoint_id, changes))

    def remove(self, endpoint_id: str) -> None:
        """Delete the endpoint; raises NotFound."""
        self._perform(self._calls.remove(endpoint_id))

    def test(self, endpoint_id: str) -> str:
        """Send a test event; returns the id of its delivery, which `attempts` tells of. Raises NotFound."""
        return self._perform(self._calls.test(endpoint_id))

    def attempts(self, endpoint_id: str) -> Attempts:
        """The last attempts at the endpoint, the newest first; raises NotFound."""
        return self._perform(self._calls.attempts(endpoint_id))

    def deliveries(self, status: str = "dead", limit: int = 20) -> Deliveries:
        """The newest deliveries that were given up (`dead`), or that wait (`pending`)."""
        return self._perform(self._calls.deliveries(status, limit))

    def replay(self, delivery_id: str) -> WebhookDelivery:
        """Send a delivery again; raises NotFound."""
        return self._perform(self._calls.replay(delivery_id))

    def rotate_secret(self, grace_s: int = DAY_S) -> str:
        """Make a new signing secret and return it; the earlier ones sign as well for `grace_s` seconds."""
        return self._perform(self._calls.rotate_secret(grace_s))

    def _perform(self, flow: Flow[T]) -> T:
        result: T = self._run(flow)
        return result


class AsyncWebhooks:
    """`Webhooks` for asyncio: the same methods, awaited."""

    def __init__(self, flows: Flows, run: Callable[[Flow[Any]], Awaitable[Any]]) -> None:
        self._calls, self._run = WebhookCalls(flows), run

    async def list(self) -> Endpoints:
        """See `Webhooks.list`."""
        return await self._perform(self._calls.list())

    async def add(self, url: str, events: Sequence[str] = FINISHED, description: str = "") -> WebhookEndpoint:
        """See `Webhooks.add`."""
        return await self._perform(self._calls.add(url, events, description))

    async def change(self, endpoint_id: str, **changes: object) -> WebhookEndpoint:
        """See `Webhooks.change`."""
        return await self._perform(self._calls.change(endpoint_id, changes))

    async def remove(self, endpoint_id: str) -> None:
        """See `Webhooks.remove`."""
        await self._perform(self._calls.remove(endpoint_id))

    async def test(self, endpoint_id: str) -> str:
        """See `Webhooks.test`."""
        return await self._perform(self._calls.test(endpoint_id))

    async def attempts(self, endpoint_id: str) -> Attempts:
        """See `Webhooks.attempts`."""
        return await self._perform(self._calls.attempts(endpoint_id))

    async def deliveries(self, status: str = "dead", limit: int = 20) -> Deliveries:
        """See `Webhooks.deliveries`."""
        return await self._perform(self._calls.deliveries(status, limit))

    async def replay(self, delivery_id: str) -> WebhookDelivery:
        """See `Webhooks.replay`."""
        return await self._perform(self._calls.replay(delivery_id))

    async def rotate_secret(self, grace_s: int = DAY_S) -> str:
        """See `Webhooks.rotate_secret`."""
        return await self._perform(self._calls.rotate_secret(grace_s))

    async def _perform(self, flow: Flow[T]) -> T:
        result: T = await self._run(flow)
        return result


def _each(name: str, entry: Callable[[Payload], T]) -> Callable[[Payload], list[T]]:
    return lambda payload: [entry(each) for each in payload[name]]


def _path(endpoint_id: str) -> str:
    return f"/v1/webhooks/{quote(endpoint_id, safe='')}"


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
