"""The webhook that comes with one job: who may send one, and to where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.errors import FieldProblem, InvalidTicket, ProblemCode
from service.backbone.webhooks.endpoints import WebhookStore
from service.backbone.webhooks.events import Event
from service.jobs.caller import Caller


@dataclass(frozen=True)
class JobWebhook:
    """A URL that gets events of one job."""

    url: str
    events: tuple[Event, ...] = (Event.FINISHED,)

    def to_payload(self) -> dict[str, Any]:
        """As the record of the job keeps it in the request."""
        return {"url": self.url, "events": list(self.events)}


def require_webhook_allowed(caller: Caller, webhook: JobWebhook, store: WebhookStore) -> None:
    """Raise :class:`InvalidTicket` if the job may not come with this webhook."""
    problem = _problem(caller, webhook, store)
    if problem is not None:
        raise InvalidTicket([problem])


def _problem(caller: Caller, webhook: JobWebhook, store: WebhookStore) -> FieldProblem | None:
    if not caller.webhooks:
        return FieldProblem("webhook", "is not allowed with this API key", ProblemCode.INVALID)
    problem = store.url_problem(webhook.url)
    if problem is not None:
        return FieldProblem("webhook.url", problem, ProblemCode.INVALID)
    if not store.secrets(caller.key_id):
        message = "this API key has no signing secret yet: POST /v1/webhooks/secret makes one"
        return FieldProblem("webhook", message, ProblemCode.UNAVAILABLE)
    return None
