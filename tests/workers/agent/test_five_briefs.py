"""Five briefs through the real stack and the built-in checkpoint, planned by a scripted model that calls tools."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.agent.choosing import choose_by_rules
from models.agent.plan import Plan
from models.agent.templates import TEMPLATES
from models.catalog.catalog import HOUSE
from models.jobs.records import JobStatus
from tests.engine_stub import EngineStub, Say
from tests.workers.agent.conftest import running
from tests.workers.agent.test_agent_jobs import tell, until_asked
from tests.workers.agent.thinking.parts import say
from tests.workers.agent.world import OWNER, AgentWorld

pytestmark = pytest.mark.timeout(300)
SUBTASK = re.compile(r"<subtask>\s*(\{.*?\})\s*</subtask>", re.DOTALL)
FEEDBACK = ("make it blue", "on a pink background")
BRIEFS = {
    "a story in 4 panels about a cat that finds a red balloon": 5,
    "an icon set of 6 fruits in one style on one ground": 7,
    "a cup in 5 colours as one sheet": 6,
    "make this apple green, then enlarge it": 2,
    "draw a dog, then make it better with two rounds of feedback": 3,
}
"""Each with how many images it makes."""


class Scripted:
    """A model that knows its plan: it makes the calls of each subtask in turn, others after a try that failed."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __call__(self, body: dict[str, Any]) -> Say:
        names = {each["function"]["name"] for each in body["tools"]}
        if "make_plan" in names:
            return say("native", "make_plan", {"subtasks": [_told(each.to_payload()) for each in self.plan.subtasks]})
        if "change_plan" in names:
            return say("native", "change_plan", {"changes": []})
        (found,) = {each for message in body["messages"] for each in SUBTASK.findall(str(message.get("content")))}
        shown = json.loads(found)
        calls = self.plan.find(shown["id"]).calls_of(shown["tries"] - 1)
        made = sum(message["role"] == "tool" for message in body["messages"])
        if made == len(calls):
            return say("native", "finish_subtask", {"summary": "it is there"})
        assert calls[made].tool in names, "the plan names the tools of each subtask"
        return say("native", calls[made].tool, calls[made].arguments)


def _told(subtask: dict[str, Any]) -> dict[str, Any]:
    tools = [*dict.fromkeys(call["tool"] for call in [*subtask["calls"], *subtask["retry_calls"]])]
    return {name: subtask[name] for name in ("name", "goal", "criticism", "milestones")} | {"tools": tools}


def scripted(brief: str, files: Sequence[str]) -> Scripted:
    choice = choose_by_rules(brief, files)
    slots = choice.slots | ({"requests": [*FEEDBACK]} if choice.template == "improve" else {})
    return Scripted(TEMPLATES[choice.template].plan(slots, files))


@pytest.fixture(scope="module")
def world(stub: EngineStub, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[AgentWorld]:
    settings = {"PHOTOGRAM_LLM": "auto", "PHOTOGRAM_LLM_URL": stub.url}
    with running(tmp_path_factory.mktemp("briefs"), tiny_folder, **settings) as made:
        yield made


@pytest.fixture(scope="module")
def apple(world: AgentWorld) -> str:
    (record,) = world.until_over(world.submit("a red apple", owner=OWNER, model=HOUSE, seed=3))
    return f"image:{record.images[0].image_id}"


@pytest.mark.parametrize("brief", BRIEFS)
def test_a_scripted_model_does_each_brief(world: AgentWorld, stub: EngineStub, apple: str, brief: str) -> None:
    files = ("input-1.png",) if "this apple" in brief else ()
    stub.answer_with(scripted(brief, files))
    job = world.ask_for(brief, planner="language", mode="ask", model=HOUSE, seed=2, files=(apple,) if files else ())
    if "feedback" in brief:
        for answer in FEEDBACK:
            until_asked(world, job)
            assert tell(world, job, answer) == "told"
            world.until(lambda: world.record(job).asked is None)
    record = world.over(job)
    document: Any = record.document
    assert record.status is JobStatus.SUCCEEDED and document["complete"], (record.error_message, document)
    assert len(document["images"]) == BRIEFS[brief]
