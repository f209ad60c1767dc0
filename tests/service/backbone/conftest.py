"""The parts of the backbone over a real, empty Valkey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from models.catalog.catalog import Catalog
from models.jobs.params import DrawRequest
from models.jobs.records import new_job_id
from models.jobs.tickets import Ticket, open_ticket
from service.backbone.ledger import Ledger
from tests.intake import BlockingIntake


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis, record_ttl_s=3600)


@pytest.fixture
def intake(redis: Redis) -> BlockingIntake:
    return BlockingIntake(redis, max_queued=5)


@pytest.fixture
def ticket() -> Callable[..., Ticket]:
    """Opens a ticket for a small image."""

    def make(job_id: str | None = None, owner: str = "owner", **params: Any) -> Ticket:
        request = DrawRequest(**{"prompt": "x", **params})
        return open_ticket(request, Catalog({}), job_id=job_id or new_job_id(), owner=owner)

    return make


@pytest.fixture
def job(intake: BlockingIntake, ticket: Callable[..., Ticket]) -> str:
    """The id of a queued job."""
    return intake.accept(ticket(), {"prompt": "x"}).record.job_id
