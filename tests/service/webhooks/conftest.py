"""A sender over a real, empty Valkey, and the hand of a worker that changes jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis import Redis

from models.catalog.catalog import Catalog
from models.jobs.params import DrawRequest
from models.jobs.records import new_job_id
from models.jobs.tickets import open_ticket
from models.jobs.urls import FetchPolicy
from service.api.native.webhook_job import webhook_job
from service.backbone import scripts
from service.backbone.ledger import Ledger
from service.backbone.webhooks.endpoints import WebhookStore
from service.backbone.webhooks.events import JOB_EVENTS, Event, WebhookLinks
from service.backbone.webhooks.outbox import Outbox
from service.webhooks import sender as sending
from service.webhooks.sender import Sender
from tests.intake import BlockingIntake
from tests.webhook_receiver import Receiver

OWNER = "owner"
EXECUTION = "execution-1"
PRIVATE = FetchPolicy(allow_private=True)


@dataclass
class Rig:
    """Jobs, endpoints and the outbox of one key, and senders that tests start."""

    redis: Redis
    senders: list[Sender] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store, self.outbox = WebhookStore(self.redis, PRIVATE), Outbox(self.redis)
        self.ledger, self.intake = Ledger(self.redis, 3600), BlockingIntake(self.redis, 100_000)

    def send(self, policy: FetchPolicy = PRIVATE) -> Sender:
        """Start a sender."""
        self.senders.append(Sender(self.redis, policy, webhook_job))
        self.senders[-1].start()
        return self.senders[-1]

    def endpoint(self, url: str, *events: Event, owner: str = OWNER) -> str:
        """Add an endpoint; gives its id."""
        made = self.store.create(owner, url, events or JOB_EVENTS, "")
        return made.endpoint.endpoint_id

    def secret(self, owner: str = OWNER) -> str:
        (found,) = self.store.secrets(owner)
        return found

    def queued(self, owner: str = OWNER, links: WebhookLinks | None = None, **params: Any) -> str:
        """Queue a job; gives its id."""
        ticket = open_ticket(DrawRequest(**{"prompt": "x", **params}), Catalog({}), job_id=new_job_id(), owner=owner)
        return self.intake.accept(ticket, {}, links=links or WebhookLinks("http://here")).record.job_id

    def finished(self, owner: str = OWNER, links: WebhookLinks | None = None, **params: Any) -> str:
        """Queue a job, start and finish it; gives its id."""
        job_id = self.queued(owner, links, **params)
        self.ledger.start(job_id, EXECUTION)
        self.ledger.succeed(job_id, EXECUTION, [], {})
        return job_id


@pytest.fixture
def rig(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(sending, "_LOOK_S", 0.02)
    made = Rig(redis)
    yield made
    for each in made.senders:
        each.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as opened:
        yield opened


@pytest.fixture
def quick(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A rig whose attempts are made again at once, four in all."""
    monkeypatch.setattr(sending, "_LOOK_S", 0.02)
    monkeypatch.setattr("service.backbone.webhooks.schedule.RETRY_AFTER_S", (0.02,) * 3)
    paused = f"= {scripts._PAUSE_S}, {scripts._PAUSE_MAX_S},"
    assert paused in scripts._OUTBOX
    monkeypatch.setattr(scripts, "_OUTBOX", scripts._OUTBOX.replace(paused, "= 0.01, 0.01,"))
    made = Rig(redis)
    yield made
    for each in made.senders:
        each.stop()
