"""Records: a killed job goes on without a request twice, and a replay calls the same tools without the model."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from models.agent.checks import Verdict
from models.agent.plan import Plan, PlanChange
from tests.engine_stub import EngineStub, Raw, Say, error
from tests.workers.agent.thinking.parts import (
    CHANGES,
    DRAW,
    PLAN_ARGUMENTS,
    SITUATION,
    SPECS,
    SUBTASK,
    Killed,
    MemorySteps,
    Tools,
    say,
)
from workers.agent.errors import BudgetSpent, StepsDiverged
from workers.agent.seams import Performed, Situation
from workers.agent.thinking.engine_model import EngineModel
from workers.agent.thinking.planner import FreePlanner

Models = Callable[..., EngineModel]
Outcome = tuple[Plan, Performed, Performed, tuple[PlanChange, ...]]
ANSWERS: list[Say | str | Raw] = [
    say("hermes", "make_plan", PLAN_ARGUMENTS),
    say("hermes", "draw", DRAW),
    "Hm.",
    say("hermes", "measure", {"image": "apple.png"}),
    say("hermes", "finish_subtask", {"summary": "done"}),
    say("hermes", "draw", {**DRAW, "file": "pear.png"}),
    error(503),
    say("hermes", "change_plan", CHANGES),
]


async def work(planner: FreePlanner, tools: Tools) -> Outcome:
    """A plan, two tries, of which the engine breaks the second, and a refinement."""
    plan = await planner.plan("plan", SITUATION, SPECS)
    first, second = plan.subtasks
    done = await planner.perform("1/try-1", first, SITUATION, tools, 0)
    broken = await planner.perform("2/try-1", second, SITUATION, tools, 0)
    verdicts = [Verdict(passed=False, sentence="pear.png is not there")]
    return plan, done, broken, await planner.refine("2/refine-1", plan, second, verdicts, SITUATION)


async def whole(stub: EngineStub, model: EngineModel) -> tuple[Outcome, MemorySteps, Tools]:
    stub.answer_with(*ANSWERS)
    tools = Tools(steps := MemorySteps())
    return await work(FreePlanner(model, steps), tools), steps, tools


async def test_a_replay_makes_the_same_calls_without_a_request(stub: EngineStub, model_of: Models):
    outcome, steps, _ = await whole(stub, model_of("hermes"))
    assert outcome[2].summary == "the language model failed: the language engine answered 503: no"
    assert outcome[3] == (PlanChange.modify("1", goal="apple.png is a red apple"),)
    assert len(stub.requests) == len(ANSWERS)
    assert "Two icons of fruit" in steps.requests["plan/model-1"] and "calls_left" in steps.requests["1/try-1/model-2"]

    async def never(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
        raise AssertionError("the model was asked")

    replay = MemorySteps(recorded=dict(steps.recorded))
    assert await work(FreePlanner(FunctionModel(never), replay), Tools(replay)) == outcome
    assert replay.made == [] and replay.kinds == {"model", "tool"}


async def test_a_worker_killed_after_any_step_goes_on_there(stub: EngineStub, model_of: Models):
    model = model_of("hermes")
    outcome, unharmed, tools = await whole(stub, model)
    for survived in range(1, len(unharmed.made)):
        stub.answer_with(*ANSWERS)
        stub.requests.clear()
        steps = MemorySteps(die_after=survived)
        first = Tools(steps)
        with pytest.raises(Killed):
            await work(FreePlanner(model, steps), first)
        steps.die_after = None
        second = Tools(steps)
        assert await work(FreePlanner(model, steps), second) == outcome
        assert steps.made == unharmed.made and steps.requests == unharmed.requests
        assert first.calls + second.calls == tools.calls
        assert len(stub.requests) == len(ANSWERS)


async def test_random_ids_and_times_are_not_in_a_record():
    """FunctionModel gives calls random ids: two runs have the same steps nevertheless."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        name, arguments = ("finish_subtask", {"summary": "done"}) if len(messages) > 1 else ("draw", DRAW)
        return ModelResponse(parts=[ToolCallPart(name, json.dumps(arguments))])

    records = []
    for _ in range(2):
        tools = Tools(steps := MemorySteps())
        await FreePlanner(FunctionModel(answer), steps).perform("1", SUBTASK, SITUATION, tools, 0)
        records.append(steps.requests)
    assert records[0] == records[1] and set(records[0]) == {"1/model-1", "1/call-1", "1/model-2"}


async def test_another_brief_does_not_fit_the_record(stub: EngineStub, model_of: Models):
    _, steps, _ = await whole(stub, model_of("hermes"))
    other = Situation(brief="Another brief.", files={})
    with pytest.raises(StepsDiverged):
        await FreePlanner(model_of("hermes"), steps).plan("plan", other, SPECS)


async def test_other_tools_and_texts_of_the_server_fit_the_record(stub: EngineStub, model_of: Models):
    (plan, *_), steps, _ = await whole(stub, model_of("hermes"))
    assert await FreePlanner(model_of("native"), steps).plan("plan", SITUATION, SPECS[:1]) == plan


async def test_a_broken_record_is_told(stub: EngineStub, model_of: Models):
    _, steps, _ = await whole(stub, model_of("hermes"))
    steps.recorded["plan/model-1"] = json.dumps([json.loads(steps.recorded["plan/model-1"])[0], {"response": 7}])
    with pytest.raises(StepsDiverged, match="plan/model-1"):
        await FreePlanner(model_of("hermes"), steps).plan("plan", SITUATION, SPECS)


@pytest.mark.parametrize("room", range(8))
async def test_a_spent_budget_ends_the_job(stub: EngineStub, model_of: Models, room: int):
    stub.answer_with(*ANSWERS)
    steps = MemorySteps(budget=room)
    with pytest.raises(BudgetSpent):
        await work(FreePlanner(model_of("hermes"), steps), Tools(steps))
    assert len(steps.made) == room
