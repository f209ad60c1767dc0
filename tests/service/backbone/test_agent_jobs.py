"""What Redis keeps of an agent job: steps, spending, questions and answers, each fenced by the execution."""

from __future__ import annotations

import random
import threading

import pytest

from models.catalog.catalog import Catalog
from models.errors import InternalFailure
from models.jobs.agents import AgentRequest, Budget
from models.jobs.records import JobStatus
from models.jobs.tickets import open_ticket
from service.backbone.agent_jobs import INPUTS_MAX, STEP_MAX_BYTES, AgentRecord, Most, Use, tell_agent
from service.backbone.connections import connect_async
from service.backbone.keyspace import agent_inputs_key, agent_spent_key, agent_steps_key, events_key
from tests.intake import BlockingIntake

CATALOG = Catalog({})
MOST = Most.of(steps=10, images=4, cost_units=2.0)


@pytest.fixture
def job(redis, ledger):
    ticket = open_ticket(AgentRequest(brief="a cat", budget=Budget(steps=10)), CATALOG, owner="me")
    job_id = BlockingIntake(redis, max_queued=100_000).accept(ticket).record.job_id
    assert ledger.start(job_id, "a") == 0
    return job_id


@pytest.fixture
def record(redis, job):
    return AgentRecord(redis, job, "a")


@pytest.fixture
async def told(redis_url, job):
    """Tells the job something."""
    connection = connect_async(redis_url, "test")

    async def tell(text: str, question: str | None = None) -> str:
        return await tell_agent(connection, job, text, question)

    yield tell
    await connection.aclose(close_connection_pool=True)


def test_a_step_is_kept_once_and_only_by_the_execution_that_has_the_job(redis, ledger, job, record):
    assert record.keep_step("1", {"result": 1}) and record.keep_step("1", {"result": 2})
    assert record.steps() == {"1": {"result": 1}}
    ledger.start(job, "b")  # the worker of "a" has died
    assert not record.keep_step("2", {"result": 1})
    assert AgentRecord(redis, job, "b").steps() == {"1": {"result": 1}}


def test_a_step_that_is_too_large_is_refused(record):
    with pytest.raises(InternalFailure, match="at most"):
        record.keep_step("1", {"result": "x" * STEP_MAX_BYTES})


def test_the_budget_is_spent_once_for_each_step_and_never_exceeded(record):
    assert record.spend("1", Use(images=3, step_px=1_500_000), MOST) == "go"
    assert record.spend("1", Use(images=3, step_px=1_500_000), MOST) == "go"
    assert record.spend("2", Use(images=2), MOST) == "images"
    assert record.spend("3", Use(images=1, step_px=600_000), MOST) == "step_px"
    assert record.spent() == Use(steps=1, images=3, step_px=1_500_000)
    assert record.spend("2", Use(images=1, step_px=500_000), MOST) == "go", "what was refused is not counted"


def test_an_execution_that_lost_the_job_spends_nothing(ledger, job, record):
    ledger.start(job, "b")
    assert record.spend("1", Use(), MOST) == "over"
    assert record.spent() == Use(steps=0)


@pytest.mark.parametrize("seed", range(20))
def test_of_fifty_random_runs_none_is_over_its_budget(redis, ledger, seed):
    """A thousand runs in all: steps of any cost, taken by two threads at the same time, some of them twice."""
    chance = random.Random(seed)
    intake = BlockingIntake(redis, max_queued=100_000)
    for _ in range(50):
        ticket = open_ticket(AgentRequest(brief="a cat"), CATALOG, owner="me")
        job_id = intake.accept(ticket).record.job_id
        ledger.start(job_id, "a")
        record = AgentRecord(redis, job_id, "a")
        most = Most(steps=chance.randrange(1, 8), images=chance.randrange(6), step_px=chance.randrange(10**6))
        uses = [
            (str(chance.randrange(12)), Use(images=chance.randrange(4), step_px=chance.randrange(4 * 10**5)))
            for _ in range(12)
        ]

        def run(part, record=record, most=most):
            for name, use in part:
                record.spend(name, use, most)

        threads = [threading.Thread(target=run, args=(uses[index::2],)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spent = record.spent()
        assert spent.steps <= most.steps and spent.images <= most.images and spent.step_px <= most.step_px


async def test_a_question_is_shown_until_it_is_answered(ledger, job, record, told, redis):
    asked = {"event": "question", "id": "q1", "question": "which?", "choices": ["a"], "images": []}
    assert record.ask(asked) and ledger.read(job).asked == asked
    assert await told("a", "q0") == "other"
    assert await told("a", "q1") == "told"
    assert ledger.read(job).asked is None
    assert await told("b", "q1") == "other"
    assert record.told(0) == [{"event": "input", "question": "q1", "text": "a"}]
    assert [fields[b"kind"] for _, fields in redis.xrange(events_key(job))][-2:] == [b"note", b"note"]


async def test_remarks_are_taken_without_a_question_up_to_a_number(record, told):
    assert [await told(f"remark {number}") for number in range(INPUTS_MAX)] == ["told"] * INPUTS_MAX
    assert await told("one more") == "full"
    assert [each["text"] for each in record.told(INPUTS_MAX - 1)] == [f"remark {INPUTS_MAX - 1}"]


async def test_nothing_is_left_when_the_job_ends(redis, ledger, job, record, told):
    record.keep_step("1", {})
    record.spend("1", Use(), MOST)
    record.ask({"event": "question", "id": "q", "question": "?", "choices": [], "images": []})
    assert await told("yes") == "told" and not record.is_cancel_requested()
    assert ledger.succeed(job, "a", [], {})
    assert not redis.exists(agent_steps_key(job), agent_spent_key(job), agent_inputs_key(job))
    assert ledger.read(job).status is JobStatus.SUCCEEDED and ledger.read(job).asked is None
    assert await told("late") == "over" and record.is_cancel_requested()
    assert not record.ask({"event": "question", "id": "q"})
