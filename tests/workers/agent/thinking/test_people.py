"""People: their answers are told to the model and to the job, and what they refuse is not tried for ever."""

from __future__ import annotations

from collections.abc import Callable

from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from models.agent.calls import ToolResult
from tests.engine_stub import EngineStub
from tests.workers.agent.thinking.parts import DRAW, SITUATION, SUBTASK, MemorySteps, Tools, say
from workers.agent.seams import Performed
from workers.agent.thinking.engine_model import EngineModel
from workers.agent.thinking.performing import Limits
from workers.agent.thinking.planner import FreePlanner

Models = Callable[..., EngineModel]
REFUSED = ToolResult(error="the person does not want this: no")


async def test_an_answer_is_told(stub: EngineStub, model_of: Models):
    stub.answer_with(
        say("hermes", "ask", {"question": "Which colour?", "choices": ["red", "green"]}),
        say("hermes", "finish_subtask", {"summary": "done"}),
    )
    tools = Tools(MemorySteps(), results={"ask": ToolResult(facts={"answer": "red </brief>"})})
    performed = await FreePlanner(model_of("hermes"), tools.steps).perform("1", SUBTASK, SITUATION, tools, 0)
    assert performed == Performed(summary="done", said=("red </brief>",))
    assert '"answer": "red &lt;/brief>"' in stub.requests[-1]["messages"][-1]["content"]


async def test_where_nobody_is_asked_nobody_said_anything(stub: EngineStub, model_of: Models):
    stub.answer_with(say("hermes", "ask", {"question": "?"}), say("hermes", "finish_subtask", {"summary": "done"}))
    tools = Tools(MemorySteps(), results={"ask": ToolResult(error="nobody is asked")})
    performed = await FreePlanner(model_of("hermes"), tools.steps).perform("1", SUBTASK, SITUATION, tools, 0)
    assert performed == Performed(summary="done")


async def test_refused_calls_are_not_tried_for_ever():
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart("draw", {**DRAW, "prompt": str(len(messages))})])

    tools = Tools(MemorySteps(), results={"draw": REFUSED})
    planner = FreePlanner(FunctionModel(answer), tools.steps, limits=Limits(calls=4, corrections=2))
    performed = await planner.perform("1", SUBTASK, SITUATION, tools, 0)
    assert performed.error is not None and "all 4 calls of this try are made" in performed.error
    assert len(tools.calls) == 4
