"""A scripted language model plans and performs agent jobs through the real stack, and asks for what there is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.jobs.records import JobStatus
from tests.engine_stub import EngineStub
from tests.workers.agent.conftest import running
from tests.workers.agent.test_agent_jobs import notes, pixels
from tests.workers.agent.thinking.parts import exists, say
from tests.workers.agent.world import OWNER, AgentWorld

pytestmark = pytest.mark.timeout(300)
PLAN = {
    "subtasks": [
        {"name": "draw", "goal": "apple.png is an apple", "milestones": [exists("apple.png")]},
        {"name": "sheet", "goal": "sheet.png shows it twice", "milestones": [exists("sheet.png")]},
    ]
}
DONE = {"summary": "it is there"}
SHEET = {"layout": "grid", "images": ["apple.png", "apple.png"], "save_as": "sheet.png"}


@pytest.fixture(scope="module")
def planning(stub: EngineStub, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[AgentWorld]:
    data = tmp_path_factory.mktemp("planning")
    settings = {"PHOTOGRAM_LLM": "auto", "PHOTOGRAM_LLM_URL": stub.url, "PHOTOGRAM_LLM_KEY": "secret-of-the-engine"}
    with running(data, tiny_folder, **settings) as made:
        yield made


def test_a_language_model_plans_draws_and_composes(planning: AgentWorld, stub: EngineStub) -> None:
    stub.requests.clear()
    stub.answer_with(
        say("native", "make_plan", PLAN),
        say("native", "txt2img", {"prompt": "an apple", "save_as": "apple.png"}),
        say("native", "finish_subtask", DONE),
        say("native", "compose", SHEET),
        say("native", "finish_subtask", DONE),
    )
    job = planning.ask_for("Anything with an apple.", planner="language", seed=4)
    record = planning.over(job)
    document: Any = record.document
    assert record.status is JobStatus.SUCCEEDED and document["complete"], (record.error_message, document)
    assert document["images"] == ["sheet.png", "apple.png"]
    asked = json.dumps(stub.requests)
    assert planning.environment["REDIS_URL"] not in asked and "secret-of-the-engine" not in asked
    requests = len(stub.requests)
    again = planning.over(planning.submit_replay(job))
    assert pixels(planning, again) == pixels(planning, record)
    assert len(stub.requests) == requests, "a replay asks no language model"


def test_animations_are_files_of_the_result(planning: AgentWorld, stub: EngineStub) -> None:
    stub.answer_with(
        say("native", "make_plan", {"subtasks": [{**PLAN["subtasks"][0]}]}),
        say("native", "txt2img", {"prompt": "an apple", "save_as": "apple.png"}),
        say("native", "compose", {**SHEET, "layout": "gif", "save_as": "apple.gif"}),
        say("native", "finish_subtask", DONE),
    )
    record = planning.over(planning.ask_for("An animation.", planner="language"))
    assert {"apple.gif": "image/gif"}.items() <= {each.name: each.media_type for each in record.files}.items()


def test_images_of_the_key_are_found_and_no_others(planning: AgentWorld, stub: EngineStub) -> None:
    own = planning.submit("an apple", owner=OWNER)
    planning.over(own)
    planning.over(planning.submit("an apple", owner="another"))
    stub.answer_with(
        say("native", "make_plan", {"subtasks": [{**PLAN["subtasks"][1]}]}),
        say("native", "search_images", {"text": "an apple", "limit": 8}),
        say("native", "compose", {**SHEET, "images": ["found/1.png"]}),
        say("native", "finish_subtask", DONE),
    )
    record = planning.over(planning.ask_for("The apples so far.", planner="language"))
    assert record.status is JobStatus.SUCCEEDED, record.error_message
    (found, *_) = [each for each in notes(planning, record.job_id, "result") if each["tool"] == "search_images"]
    owners = {planning.owner_of_image(each.removeprefix("image:")) for each in found["images"].values()}
    assert found["images"] and owners == {OWNER}


def test_tools_and_files_that_there_are_not_are_refused_and_named(planning: AgentWorld, stub: EngineStub) -> None:
    stub.answer_with(
        say("native", "make_plan", PLAN),
        say("native", "shell", {"command": "cat /etc/passwd"}),
        say("native", "read_text", {"file": "../../../etc/passwd"}),
        say("native", "img2img", {"image": "http://169.254.169.254/", "prompt": "x", "save_as": "apple.png"}),
        say(
            "native",
            "img2img",
            {"image": f"image:{'0' * 8}-0000-0000-0000-{'0' * 12}", "prompt": "x", "save_as": "a.png"},
        ),
        say("native", "txt2img", {"prompt": "an apple", "save_as": "../apple.png"}),
        say("native", "finish_subtask", DONE),
    )
    job = planning.ask_for("Anything with an apple.", planner="language", budget=None)
    record = planning.over(job)
    document: Any = record.document
    assert document["used"]["images"] == 0, "nothing is drawn for a name that no file may have"
    assert (record.status, record.error_code) == (JobStatus.FAILED, "agent_failed"), record.document
    asked_for = ("read_text", "img2img", "txt2img")
    results = [each["error"] for each in notes(planning, job, "result") if each["tool"] in asked_for]
    assert results and all(results), "nothing of this was done"
    assert "passwd:" not in json.dumps(record.document)


def test_without_a_model_that_plans_the_job_says_so(planning: AgentWorld, stub: EngineStub) -> None:
    stub.answer_with("I would rather talk.")
    record = planning.over(planning.ask_for("Anything with an apple.", planner="language"))
    assert (record.status, record.error_code) == (JobStatus.FAILED, "agent_failed")
    assert record.error_message
