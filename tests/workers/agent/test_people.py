"""What people tell a job: it hears all of it once, also if it is replayed or comes by the same question again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

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


async def people_of(redis: Redis, job: str, earlier: Mapping[str, Any] | None = None) -> People:
    record = AgentRecord(redis, job, "a")
    steps = RecordedSteps(record, MOST, seconds=60, earlier=earlier)
    await steps.open()
    return People(record, steps)


async def tell(redis_url: str, job: str, *texts: str) -> None:
    connection = connect_async(redis_url, "test")
    try:
        for text in texts:
            assert await tell_agent(connection, job, text, None) == "told"
    finally:
        await connection.aclose(close_connection_pool=True)


async def test_a_question_that_is_come_by_again_takes_no_further_answer(redis: Redis, redis_url: str, job: str):
    await tell(redis_url, job, "no", "yes", "in blue", "with a hat")
    for _ in range(2):  # and as another worker goes on with the job
        people = await people_of(redis, job)
        async with asyncio.timeout(10):
            first, second = await asyncio.gather(*(people.ask(key, "May it?", (), ()) for key in ("1", "2")))
            assert (first, second) == ("no", "yes")
            assert [await people.ask(key, "May it?", (), ()) for key in ("1", "2", "1")] == ["no", "yes", "no"]
            assert await people.ask("3", "May it?", (), ()) == "in blue"
            assert await people.remarks("turn-1/remarks") == ["with a hat"]
            assert await people.remarks("turn-1/remarks") == ["with a hat"]
            assert await people.remarks("turn-2/remarks") == []


async def test_a_replayed_job_hears_all_that_it_is_told(redis: Redis, redis_url: str, job: str):
    await tell(redis_url, job, "in blue", "with a hat", "that is good")
    people = await people_of(redis, job, EARLIER)
    assert await people.ask("first", "Which?", (), ()) == "a red one"
    assert await people.remarks("turn-1/remarks") == ["on the left", "and smaller"]
    async with asyncio.timeout(10):
        assert await people.ask("second", "Which?", (), ()) == "in blue"

    people = await people_of(redis, job, EARLIER)  # as another worker goes on with the job
    assert await people.ask("first", "Which?", (), ()) == "a red one"
    assert await people.remarks("turn-1/remarks") == ["on the left", "and smaller"]
    assert await people.ask("second", "Which?", (), ()) == "in blue"
    assert await people.remarks("turn-2/remarks") == ["with a hat", "that is good"]
