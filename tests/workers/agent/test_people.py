"""What people tell a job that is replayed: it hears all of it, and takes nothing of the earlier job for it."""

from __future__ import annotations

import asyncio

import pytest
from redis import Redis

from models.catalog.catalog import Catalog
from models.jobs.agents import AgentRequest
from models.jobs.tickets import open_ticket
from service.backbone.agent_jobs import AgentRecord, Most, tell_agent
from service.backbone.connections import connect_async
from service.backbone.ledger import Ledger
from tests.intake import BlockingIntake
from workers.agent.people import People
from workers.agent.steps import RecordedSteps

MOST = Most.of(steps=10, images=4, cost_units=2.0)
EARLIER = {"first": {"result": "a red one"}, "turn-1/remarks": {"result": ["on the left", "and smaller"]}}
"""What people said to the job that is replayed."""


@pytest.fixture
def job(redis: Redis) -> str:
    ticket = open_ticket(AgentRequest(brief="a cat"), Catalog({}), owner="me")
    job_id = BlockingIntake(redis, max_queued=10).accept(ticket).record.job_id
    Ledger(redis, record_ttl_s=3600).start(job_id, "a")
    return job_id


async def people_of(redis: Redis, job: str) -> People:
    record = AgentRecord(redis, job, "a")
    steps = RecordedSteps(record, MOST, seconds=60, earlier=EARLIER)
    await steps.open()
    return People(record, steps)


async def test_a_replayed_job_hears_all_that_it_is_told(redis: Redis, redis_url: str, job: str):
    connection = connect_async(redis_url, "test")
    try:
        for text in ("in blue", "with a hat", "that is good"):
            assert await tell_agent(connection, job, text, None) == "told"
    finally:
        await connection.aclose(close_connection_pool=True)
    people = await people_of(redis, job)
    assert await people.ask("first", "Which?", (), ()) == "a red one"
    assert await people.remarks("turn-1/remarks") == ["on the left", "and smaller"]
    async with asyncio.timeout(10):
        assert await people.ask("second", "Which?", (), ()) == "in blue"

    people = await people_of(redis, job)  # as another worker goes on with the job
    assert await people.ask("first", "Which?", (), ()) == "a red one"
    assert await people.remarks("turn-1/remarks") == ["on the left", "and smaller"]
    assert await people.ask("second", "Which?", (), ()) == "in blue"
    assert await people.remarks("turn-2/remarks") == ["with a hat", "that is good"]
