"""Agent jobs as the gateway takes them: what is refused by which field, and what people tell them."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from models.jobs.agents import AGENT_QUEUE, BRIEF_MAX_CHARS, FILES_MAX, RECORD
from models.jobs.results import StoredFile
from service.backbone.agent_jobs import AgentRecord
from service.backbone.ledger import Ledger
from service.backbone.store import FileStore
from tests.service.api.conftest import EXECUTION
from tests.waiting import waiting_jobs

BRIEF = "a story in 4 panels about a cat"


def submit(client, path: str = "/v1/jobs", **params: object):
    return client.post(path, json={"kind": "agent", "params": {"brief": BRIEF, **params}})


def test_an_agent_is_queued_with_nothing_left_open(client, redis: Redis):
    params = submit(client, budget={"images": 3}).json()["params"]
    assert params.pop("seed") >= 0
    assert params == {
        "brief": BRIEF, "files": [], "mode": "auto", "planner": "auto", "model": None, "replay": None, "priority": 0,
        "budget": {"steps": 100, "images": 3, "seconds": 1800, "cost_units": 10000.0},
    }  # fmt: skip
    assert len(waiting_jobs(redis, AGENT_QUEUE)) == 1


@pytest.mark.parametrize(
    ("params", "field", "reason"),
    [
        ({"brief": None}, "brief", "is required"),
        ({"brief": "  "}, "brief", "is required"),
        ({"brief": "x" * (BRIEF_MAX_CHARS + 1)}, "brief", "at most"),
        ({"brief": 3}, "brief", "string"),
        ({"budget": {"steps": 0}}, "budget.steps", "from 1 to"),
        ({"budget": {"images": -1}}, "budget.images", "from 0 to"),
        ({"budget": {"seconds": 10**9}}, "budget.seconds", "from 1 to"),
        ({"budget": {"cost_units": -0.1}}, "budget.cost_units", "from 0 to"),
        ({"budget": {"euros": 3}}, "budget.euros", "no such field"),
        ({"budget": 3}, "budget", "object"),
        ({"mode": "yolo"}, "mode", "must be one of auto, ask, approve"),
        ({"planner": "me"}, "planner", "must be one of auto, template, language"),
        ({"model": "nothing"}, "model", "nothing"),
        ({"seed": -1}, "seed", "from 0"),
        ({"files": ["/etc/passwd"]}, "files[0]", "is no image"),
        ({"files": ["https://example.org/a.png"] * (FILES_MAX + 1)}, "files", "at most"),
        ({"replay": "a"}, "brief", "must be left out"),
        ({"replay": "../x"}, "replay", "the id of a job"),
    ],
)
def test_what_is_wrong_is_refused_by_its_field(client, redis: Redis, params, field, reason):
    answer = submit(client, **params)
    assert answer.status_code == 422, answer.text
    found = {each["field"]: each["message"] for each in answer.json()["errors"]}
    assert reason in found[f"params.{field}"], found
    assert not waiting_jobs(redis, AGENT_QUEUE)


@pytest.fixture
def running(client, redis: Redis):
    """The record of an agent job that runs, as its worker writes it."""
    job_id = submit(client).json()["id"]
    Ledger(redis, record_ttl_s=600).start(job_id, "a")
    return AgentRecord(redis, job_id, "a"), f"/v1/jobs/{job_id}"


def test_a_question_is_shown_with_its_images_and_answered(client, running):
    record, path = running
    asked = {"event": "question", "id": "q", "question": "which?", "choices": ["left"], "images": ["00ff"]}
    assert client.get(path).json()["waiting_for_input"] is None and record.ask(asked)
    shown = client.get(path).json()["waiting_for_input"]
    assert shown.pop("images")[0].endswith("/images/00ff.png")
    assert shown == {"id": "q", "question": "which?", "choices": ["left"]}
    late = client.post(f"{path}/input", json={"text": "left", "question": "p"})
    assert (late.status_code, late.json()["code"]) == (409, "not_asked")
    answer = client.post(f"{path}/input", json={"text": "left", "question": "q"})
    assert answer.status_code == 200 and answer.json()["waiting_for_input"] is None
    assert record.told(0)[0]["text"] == "left"


def test_remarks_reach_a_job_that_asks_nothing(client, running):
    record, path = running
    assert client.post(f"{path}/input", json={"text": "make it blue"}).status_code == 200
    assert [each["text"] for each in record.told(0)] == ["make it blue"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": " \n\t "},
        {"text": 1},
        {"text": "x" * 4001},
        {"text": "a", "x": 1},
        {"text": "a", "question": 1},
        [],
    ],
)
def test_input_that_makes_no_sense_is_refused(client, running, body):
    record, path = running
    assert client.post(f"{path}/input", json=body).status_code == 422
    assert record.told(0) == []


def test_only_agents_of_the_key_that_have_not_ended_are_told_something(client, running, redis: Redis):
    _, path = running
    drawing = client.post("/v1/jobs", json={"kind": "txt2img", "params": {"prompt": "a cat"}}).json()["id"]
    assert client.post(f"/v1/jobs/{drawing}/input", json={"text": "x"}).json()["code"] == "not_asked"
    assert client.post("/v1/jobs/none/input", json={"text": "x"}).status_code == 404
    client.post(f"{path}/cancel")
    Ledger(redis, record_ttl_s=600).cancel(path.rpartition("/")[2], "a")
    ended = client.post(f"{path}/input", json={"text": "x"})
    assert (ended.status_code, ended.json()["detail"]) == (409, "the job has ended")


def replay(client, job_id: str):
    return client.post("/v1/jobs", json={"kind": "agent", "params": {"replay": job_id}})


@pytest.fixture
def succeeded(client, worker, server_data: Path):
    """An agent job that succeeded, with its record."""
    job_id = submit(client).json()["id"]
    store = FileStore(server_data / "files")
    kept = StoredFile(store.add(b"{}"), RECORD, "application/json", 2)
    worker.start(job_id)
    assert worker.ledger.succeed(job_id, EXECUTION, [], {}, files=[kept])
    return job_id, lambda: store.remove(kept.file_id)


def test_an_agent_job_that_succeeded_is_replayed_by_its_key(client, stranger, succeeded, redis: Redis):
    job_id, remove_record = succeeded
    assert replay(client, job_id).status_code == 202
    dry = client.post("/v1/jobs/dry_run", json={"kind": "agent", "params": {"replay": job_id}})
    assert dry.status_code == 200 and dry.json()["refusal"] is None
    for other in (replay(stranger, job_id), replay(client, "unknown"), replay(client, submit(client).json()["id"])):
        (problem,) = other.json()["errors"]
        assert (other.status_code, problem["field"], problem["code"]) == (422, "params.replay", "unavailable")
        assert problem["message"] == "there is no such agent job of this API key that succeeded"
    waiting = len(waiting_jobs(redis, AGENT_QUEUE))
    remove_record()
    assert "is gone" in replay(client, job_id).json()["detail"]
    assert len(waiting_jobs(redis, AGENT_QUEUE)) == waiting


def test_only_agent_jobs_are_replayed(client, worker, new_job):
    job_id = new_job()
    worker.draw(job_id)
    assert "no such agent job" in replay(client, job_id).json()["detail"]
