"""Receiving webhooks: `verify` checks that a request comes from the server, and reads its event.

from photogram import webhooks

event = webhooks.verify(request.body, request.headers, secret)
if event.type == "job.finished":
    print(event.job.status)
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ._errors import PhotogramError
from ._models import Job

DEFAULT_TOLERANCE_S = 300.0


class WebhookRefused(PhotogramError):
    """The request is not a webhook that was signed with the secret, or it is too old."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """What a webhook tells."""

    id: str
    """The header `webhook-id`. The same event may come more than once, with the same id."""
    type: str
    """`job.started`, `job.progress`, `job.finished` or `webhook.test`."""
    happened_at: datetime
    data: Mapping[str, Any]
    """The job as `GET /v1/jobs/{id}` gives it, with its `url`; of a very large job, only a part."""

    @property
    def job(self) -> Job:
        """The job; raises ValueError if the event has none, or only a part of it (`data["is_shortened"]`)."""
        if "params" not in self.data:
            raise ValueError(f"the event {self.type} does not have the whole job: get it by its id")
        return Job.from_payload(self.data)


def verify(
    body: bytes, headers: Mapping[str, str], secret: str, *, tolerance_s: float = DEFAULT_TOLERANCE_S
) -> WebhookEvent:
    """The event in a request, checked as Standard Webhooks defines it.

    `body` is the body as it came, `headers` may be in any case, `secret` is the `whsec_...` of the API key. A request
    that was sent more than `tolerance_s` seconds ago, or that far in the future, is refused. Raises WebhookRefused.
    """
    sent = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = (sent[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as error:
        raise WebhookRefused(f"the request has no header {error.args[0]}") from error
    if not (timestamp.isascii() and timestamp.isdecimal()) or abs(time.time() - int(timestamp)) > tolerance_s:
        raise WebhookRefused("the webhook was not sent just now")
    expected = _signature(f"{message_id}.{timestamp}.".encode() + body, secret)
    given = [text.removeprefix("v1,") for text in signatures.split() if text.startswith("v1,")]
    if not any(hmac.compare_digest(expected.encode(), each.encode()) for each in given):
        raise WebhookRefused("the signature of the webhook is not that of the secret")
    return _event(message_id, body)


def _signature(signed: bytes, secret: str) -> str:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError("a signing secret is whsec_ and Base64") from error
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _event(message_id: str, body: bytes) -> WebhookEvent:
    try:
        payload = json.loads(body)
        happened_at = datetime.fromisoformat(payload["timestamp"])
        return WebhookEvent(message_id, str(payload["type"]), happened_at, dict(payload["data"]))
    except (KeyError, TypeError, ValueError) as error:
        raise WebhookRefused(f"the body of the webhook cannot be read: {type(error).__name__}") from error
