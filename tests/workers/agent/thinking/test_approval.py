"""Approval: in the mode ``approve`` a person allows each call that spends, before it is made."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from models.agent.calls import ToolResult
from tests.engine_stub import EngineStub
from tests.workers.agent.thinking.parts import DRAW, SITUATION, SPECS, SUBTASK, Killed, MemorySteps, Tools, say
from workers.agent.seams import Performed
from workers.agent.thinking.engine_model import EngineModel
from workers.agent.thinking.planner import FreePlanner

Models = Callable[..., EngineModel]
DONE = {"summary": "done"}


async def perform(model: EngineModel | FunctionModel, tools: Tools) -> Performed:
    planner = FreePlanner(model, tools.steps, must_approve=True)
    return await planner.perform("1", SUBTASK, SITUATION, tools, 0)


def answering(answer: str, **more: ToolResult) -> Tools:
    return Tools(MemorySteps(), results={"ask": ToolResult(facts={"answer": answer}), **more})


@pytest.mark.parametrize("answer", ["yes", " YES\n"])
async def test_an_allowed_call_is_made(stub: EngineStub, model_of: Models, answer: str):
    stub.answer_with(
        say("hermes", "measure", {"image": "a.png"}),
        say("hermes", "draw", DRAW),
        say("hermes", "finish_subtask", DONE),
    )
    tools = answering(answer)
    assert await perform(model_of("hermes"), tools) == Performed(summary="done")
    assert [(key, call.tool) for key, call in tools.calls] == [
        ("1/call-1", "measure"),
        ("1/approval-1", "ask"),
        ("1/call-2", "draw"),
    ]
    asked = tools.calls[1][1].arguments
    assert asked["choices"] == ["yes", "no"] and "an apple, icon" in str(asked["question"])
    assert '"done": "draw"' in stub.requests[-1]["messages"][-1]["content"]


@pytest.mark.parametrize("answer", ["no", "", "yes please, but in blue", "not yet"])
async def test_a_refused_call_is_not_made(stub: EngineStub, model_of: Models, answer: str):
    stub.answer_with(say("hermes", "draw", DRAW), say("hermes", "finish_subtask", DONE))
    tools = answering(answer)
    assert await perform(model_of("hermes"), tools) == Performed(summary="done")
    assert [call.tool for _, call in tools.calls] == ["ask"]
    assert f"a person did not allow it: {answer}" in stub.requests[-1]["messages"][-1]["content"]


async def test_a_failed_question_allows_nothing(stub: EngineStub, model_of: Models):
    stub.answer_with(say("hermes", "draw", DRAW), say("hermes", "finish_subtask", DONE))
    tools = Tools(MemorySteps(), results={"ask": ToolResult(facts={"answer": "yes"}, error="nobody answered")})
    assert (await perform(model_of("hermes"), tools)).error is None
    assert [call.tool for _, call in tools.calls] == ["ask"]
    without = Tools(MemorySteps(), specs=SPECS[:2])
    stub.answer_with(say("hermes", "draw", DRAW), say("hermes", "finish_subtask", DONE))
    assert (await perform(model_of("hermes"), without)).error is None
    assert without.calls == []


async def test_nobody_is_asked_about_a_call_that_cannot_be_made(stub: EngineStub, model_of: Models):
    stub.answer_with(say("hermes", "draw", {"prompt": "an apple"}), say("hermes", "finish_subtask", DONE))
    tools = answering("yes")
    assert (await perform(model_of("hermes"), tools)).error is None
    assert tools.calls == [] and "file: is missing" in stub.requests[-1]["messages"][-1]["content"]


async def test_an_allowed_call_that_fails_is_told(stub: EngineStub, model_of: Models):
    stub.answer_with(say("hermes", "draw", DRAW), say("hermes", "finish_subtask", DONE))
    tools = answering("yes", draw=ToolResult(error="no room on the device"))
    assert (await perform(model_of("hermes"), tools)).error is None
    assert "no room on the device" in stub.requests[-1]["messages"][-1]["content"]


async def test_refusals_do_not_go_on_for_ever():
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart("draw", {**DRAW, "prompt": str(len(messages))})])

    performed = await perform(FunctionModel(answer), tools := answering("no"))
    assert performed.error is not None and "a person did not allow it" in performed.error
    assert {call.tool for _, call in tools.calls} == {"ask"} and len(tools.calls) <= 5


async def test_a_worker_killed_while_a_person_is_asked_goes_on(stub: EngineStub, model_of: Models):
    answers = [say("hermes", "draw", DRAW), say("hermes", "finish_subtask", DONE)]
    for survived in range(1, 4):
        stub.answer_with(*answers)
        tools = answering("yes")
        tools.steps.die_after = survived
        with pytest.raises(Killed):
            await perform(model_of("hermes"), tools)
        tools.steps.die_after = None
        assert await perform(model_of("hermes"), tools) == Performed(summary="done")
        assert [call.tool for _, call in tools.calls] == ["ask", "draw"]
    assert json.loads(tools.steps.requests["1/approval-1"])[0] == "tool"
