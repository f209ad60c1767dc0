"""The webhook endpoints of API keys and the secrets that sign what is sent to them.

WebhookError
├── WebhookNotFound    the key has no such endpoint, or no such delivery
├── InvalidWebhook     the endpoint cannot be as it is asked for
├── TooManyWebhooks    the key has as many endpoints as it may
└── WebhooksForbidden  the rules of the key allow no webhooks
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from redis import Redis

from models.errors import FieldProblem, InvalidFields, PhotogramError
from models.jobs.urls import FetchPolicy, MalformedUrl, parse_url
from service.backbone.keyspace import (
    webhook_dead_key,
    webhook_endpoints_key,
    webhook_events_key,
    webhook_health_key,
    webhook_log_key,
    webhook_secrets_key,
)
from service.backbone.webhooks.events import Event, subscription
from service.backbone.webhooks.signing import make_secret

ENDPOINTS_MAX = 10
"""How many endpoints a key may have."""
URL_CHARS_MAX = 2_048
DESCRIPTION_CHARS_MAX = 200
_SECRETS_MAX = 4
"""How many secrets sign at the same time: the newest, and those of rotations that overlap."""
SWITCHED_OFF = "switched off with the API key"


class WebhookError(PhotogramError):
    """Something about webhooks that cannot be."""


class WebhookNotFound(WebhookError):
    """The key has no such endpoint, or no such delivery."""


class InvalidWebhook(WebhookError, InvalidFields):
    """The endpoint cannot be as it is asked for."""


class TooManyWebhooks(WebhookError):
    """The key has as many endpoints as it may."""


class WebhooksForbidden(WebhookError):
    """The rules of the key allow no webhooks."""


@dataclass(frozen=True)
class Health:
    """How an endpoint fares; times are in seconds since the epoch."""

    off_at: float | None = None
    """Since when it gets nothing."""
    off_reason: str | None = None
    failing_since: float | None = None
    """When the first attempt failed after the last one that succeeded."""
    delivered_at: float | None = None
    """When the last attempt succeeded."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A URL that gets events of all jobs of its key."""

    endpoint_id: str
    url: str
    events: tuple[Event, ...]
    description: str
    created_at: float
    health: Health = field(default=Health())


@dataclass(frozen=True)
class NewEndpoint:
    """An endpoint that was just created, and the signing secret if the key had none before."""

    endpoint: Endpoint
    secret: str | None


class WebhookStore:
    """The endpoints and secrets of all keys; its methods block, and are safe to use from several threads."""

    def __init__(self, connection: Redis, policy: FetchPolicy) -> None:
        self._connection, self._policy = connection, policy

    def url_problem(self, url: str) -> str | None:
        """Why no webhook may go to ``url``, as far as can be said without resolving its host.

        What a program would drop or change in silence, such as a fragment, is refused, because it is a mistake.
        """
        if len(url) > URL_CHARS_MAX:
            return f"a URL may have at most {URL_CHARS_MAX} characters"
        if not url.isprintable() or " " in url:
            return "a webhook's URL must not contain spaces, line breaks or other invisible characters"
        if "#" in url:
            return "a webhook's URL must not contain a fragment (#...), which is never sent"
        try:
            parsed = parse_url(url)
        except MalformedUrl as error:
            return str(error)
        if parsed.credentials is not None:
            return "a webhook's URL must not contain a password; its requests are signed instead"
        return self._policy.problem(parsed)

    def create(self, owner: str, url: str, events: Sequence[Event], description: str) -> NewEndpoint:
        """A new endpoint.

        Raises:
            InvalidWebhook: nothing may be sent to ``url``, or the description is no line.
            TooManyWebhooks: the key has :data:`ENDPOINTS_MAX` endpoints.
        """
        self._require_allowed(url, description)
        endpoint = Endpoint(
            endpoint_id=f"wh_{secrets.token_hex(8)}",
            url=url,
            events=tuple(dict.fromkeys(events)),
            description=description,
            created_at=time.time(),
        )
        self._write(owner, endpoint)
        if int(self._connection.hlen(webhook_endpoints_key(owner))) > ENDPOINTS_MAX:
            self.delete(owner, endpoint.endpoint_id)
            raise TooManyWebhooks(f"an API key may have {ENDPOINTS_MAX} webhook endpoints; delete one first")
        return NewEndpoint(endpoint, None if self.secrets(owner) else self.rotate_secret(owner, 0))

    def all(self, owner: str) -> list[Endpoint]:
        """The endpoints of the key, the oldest first."""
        found: Any = self._connection.hgetall(webhook_endpoints_key(owner))
        endpoints = [self._with_health(owner, _endpoint(endpoint_id, text)) for endpoint_id, text in found.items()]
        return sorted(endpoints, key=lambda endpoint: endpoint.created_at)

    def get(self, owner: str, endpoint_id: str) -> Endpoint:
        """The endpoint of that id; raises :class:`WebhookNotFound`."""
        text: Any = self._connection.hget(webhook_endpoints_key(owner), endpoint_id)
        if text is None:
            raise WebhookNotFound(f"there is no webhook endpoint {endpoint_id[:64]!r}")
        return self._with_health(owner, _endpoint(endpoint_id.encode(), text))

    def change(
        self,
        owner: str,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: Sequence[Event] | None = None,
        description: str | None = None,
        is_on: bool | None = None,
    ) -> Endpoint:
        """Change what is not ``None``; raises :class:`WebhookNotFound`, or :class:`InvalidWebhook` for what is new."""
        endpoint = self.get(owner, endpoint_id)
        changed = replace(
            endpoint,
            url=endpoint.url if url is None else url,
            events=endpoint.events if events is None else tuple(dict.fromkeys(events)),
            description=endpoint.description if description is None else description,
        )
        self._require_allowed(url, description)
        if is_on:
            self._connection.delete(webhook_health_key(owner, endpoint_id))
            changed = replace(changed, health=Health())
        self._write(owner, changed)
        if is_on is False:
            self.switch_off(owner, endpoint_id, SWITCHED_OFF)
        return self.get(owner, endpoint_id)

    def switch_off(self, owner: str, endpoint_id: str, reason: str) -> None:
        """Send nothing more to the endpoint, until it is switched on again."""
        health = webhook_health_key(owner, endpoint_id)
        with self._connection.pipeline() as transaction:
            transaction.hdel(webhook_events_key(owner), endpoint_id)
            transaction.hset(health, mapping={"off_at": repr(time.time()), "off_reason": reason})
            transaction.persist(health)
            transaction.execute()

    def delete(self, owner: str, endpoint_id: str) -> None:
        """Remove the endpoint, and what waits to be sent to it; raises :class:`WebhookNotFound`."""
        with self._connection.pipeline() as transaction:
            transaction.hdel(webhook_endpoints_key(owner), endpoint_id)
            transaction.hdel(webhook_events_key(owner), endpoint_id)
            transaction.delete(webhook_health_key(owner, endpoint_id), webhook_log_key(owner, endpoint_id))
            was_there, *_ = transaction.execute()
        if not was_there:
            raise WebhookNotFound(f"there is no webhook endpoint {endpoint_id[:64]!r}")

    def rotate_secret(self, owner: str, grace_s: float) -> str:
        """Make a new signing secret; for ``grace_s``, the ones before sign as well."""
        made, key = make_secret(), webhook_secrets_key(owner)

        def write(transaction: Any) -> None:
            now = time.time()
            kept = [
                {"secret": each["secret"], "until": min(each["until"] or now + grace_s, now + grace_s)}
                for each in _valid(transaction.get(key), now)
            ]
            newest_first = [{"secret": made, "until": None}, *kept]
            transaction.multi()
            transaction.set(key, json.dumps(newest_first[:_SECRETS_MAX]))

        self._connection.transaction(write, key)
        return made

    def secrets(self, owner: str) -> list[str]:
        """The secrets that sign now, the newest first."""
        return [each["secret"] for each in _valid(self._connection.get(webhook_secrets_key(owner)), time.time())]

    def _require_allowed(self, url: str | None, description: str | None) -> None:
        problems, problem = [], None if url is None else self.url_problem(url)
        if problem is not None:
            problems.append(FieldProblem("url", problem))
        if description is not None and (not description.isprintable() or len(description) > DESCRIPTION_CHARS_MAX):
            message = f"must be a line of at most {DESCRIPTION_CHARS_MAX} printable characters"
            problems.append(FieldProblem("description", message))
        if problems:
            raise InvalidWebhook(problems)

    def _write(self, owner: str, endpoint: Endpoint) -> None:
        kept = {name: value for name, value in asdict(endpoint).items() if name not in ("endpoint_id", "health")}
        with self._connection.pipeline() as transaction:
            transaction.hset(webhook_endpoints_key(owner), endpoint.endpoint_id, json.dumps(kept))
            if endpoint.health.off_at is None:
                wanted = subscription(endpoint.events)
                transaction.hset(webhook_events_key(owner), endpoint.endpoint_id, wanted)
            transaction.execute()

    def _with_health(self, owner: str, endpoint: Endpoint) -> Endpoint:
        found: Any = self._connection.hgetall(webhook_health_key(owner, endpoint.endpoint_id))
        text = {name.decode(): value.decode() for name, value in found.items()}
        times = {name: float(text[name]) for name in ("off_at", "failing_since", "delivered_at") if name in text}
        return replace(endpoint, health=Health(**times, off_reason=text.get("off_reason")))


def _endpoint(endpoint_id: bytes, text: bytes) -> Endpoint:
    payload: dict[str, Any] = json.loads(text)
    payload["events"] = tuple(Event(event) for event in payload["events"])
    return Endpoint(endpoint_id=endpoint_id.decode(), **payload)


def _valid(text: Any, now: float) -> list[dict[str, Any]]:
    return [each for each in json.loads(text or "[]") if each["until"] is None or each["until"] > now]


def delete_webhooks(connection: Redis, owner: str) -> None:
    """Remove all endpoints and secrets of a key; what waits to be sent is dropped by the senders."""
    found: Any = connection.hkeys(webhook_endpoints_key(owner))
    keys = [
        webhook_endpoints_key(owner),
        webhook_events_key(owner),
        webhook_secrets_key(owner),
        webhook_dead_key(owner),
    ]
    for endpoint_id in (name.decode() for name in found):
        keys += [webhook_health_key(owner, endpoint_id), webhook_log_key(owner, endpoint_id)]
    connection.delete(*keys)
