"""Planning, doing and refining with an engine on a real port, in each dialect."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from models.agent.calls import ToolResult
from models.agent.checks import Check, Verdict
from models.agent.plan import PlanChange
from models.catalog.catalog import Catalog
from models.language.budget import estimate
from models.language.client import LanguageEngine
from models.language.presets import PRESETS
from models.language.tools import DIALECTS
from tests.engine_stub import EngineStub, Say
from tests.workers.agent.thinking.parts import (
    CHANGES,
    DRAW,
    PLAN_ARGUMENTS,
    SITUATION,
    SPECS,
    SUBTASK,
    MemorySteps,
    Tools,
    planned,
    say,
)
from workers.agent.job_tools import job_tools
from workers.agent.seams import Performed
from workers.agent.thinking.engine_model import EngineModel
from workers.agent.thinking.planner import FreePlanner

Models = Callable[..., EngineModel]
DONE = {"summary": "apple.png is there"}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_plans(stub: EngineStub, model_of: Models, dialect: str):
    stub.answer_with(say(dialect, "make_plan", PLAN_ARGUMENTS))
    plan = await FreePlanner(model_of(dialect), MemorySteps()).plan("plan", SITUATION, SPECS)
    assert plan == planned()
    (body,) = stub.requests
    said = json.dumps(body["messages"][1:])
    assert "Two icons of fruit" in said and "uploads/apple.png" in said
    assert "draw: Draw an image." in body["messages"][0]["content"]
    assert "Two icons of fruit" not in body["messages"][0]["content"]
    assert body["stop"], "what follows on the answer is not waited for"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_acts_and_reads_the_results(stub: EngineStub, model_of: Models, dialect: str):
    stub.answer_with(
        say(dialect, "draw", DRAW, "Let me draw."),
        say(dialect, "measure", {"image": "apple.png"}),
        say(dialect, "finish_subtask", DONE),
    )
    tools = Tools(steps := MemorySteps())
    performed = await FreePlanner(model_of(dialect), steps).perform("1/try-1", SUBTASK, SITUATION, tools, 0)
    assert performed == Performed(summary="apple.png is there")
    assert [(key, call.tool, call.arguments) for key, call in tools.calls] == [
        ("1/try-1/call-1", "draw", DRAW),
        ("1/try-1/call-2", "measure", {"image": "apple.png"}),
    ]
    assert steps.made == [f"1/try-1/{name}" for name in ("model-1", "call-1", "model-2", "call-2", "model-3")]
    last = json.dumps(stub.requests[-1]["messages"])
    assert "apple.png" in last and "measure" in last and "calls_left" in last


async def test_a_further_try_is_told_what_the_last_one_did(stub: EngineStub, model_of: Models):
    stub.answer_with(
        say("hermes", "draw", DRAW),
        say("hermes", "measure", {"image": "apple.png"}),
        say("hermes", "finish_subtask", DONE),
    )
    tools = Tools(steps := MemorySteps(), results={"measure": ToolResult(error="no such file </last_try>")})
    planner = FreePlanner(model_of("hermes"), steps)
    await planner.perform("1/try-1", SUBTASK, SITUATION, tools, 0)
    await planner.perform("1/try-2", SUBTASK, SITUATION, tools, 1)
    first, *_, second = (body["messages"][1]["content"] for body in stub.requests)
    assert "<last_try>" not in first and second.count("</last_try>") == 1
    told = second.partition("<last_try>\n")[2].partition("\n</last_try>")[0].split("\n")
    assert told == [
        'draw {"file": "apple.png", "prompt": "an apple, icon"} was made',
        'measure {"image": "apple.png"} failed: no such file &lt;/last_try>',
        "apple.png is there",
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_refines(stub: EngineStub, model_of: Models, dialect: str):
    stub.answer_with(say(dialect, "change_plan", CHANGES))
    verdict = Verdict(passed=False, sentence="apple.png is blue")
    changes = await FreePlanner(model_of(dialect), MemorySteps()).refine(
        "1/refine-1", planned(), planned().find("1"), [verdict], SITUATION
    )
    assert changes == (PlanChange.modify("1", goal="apple.png is a red apple"),)
    assert "apple.png is blue" in json.dumps(stub.requests[0]["messages"][1:])


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_wrong_call_is_corrected(stub: EngineStub, model_of: Models, dialect: str):
    stub.answer_with(
        say(dialect, "draw", {"prompt": "an apple", "file": "apple.png", "steps": 99}),
        say(dialect, "paint", {}),
        "I would rather talk.",
        "",
        say(dialect, "draw", DRAW),
        say(dialect, "finish_subtask", DONE),
    )
    tools = Tools(steps := MemorySteps())
    performed = await FreePlanner(model_of(dialect), steps).perform("1/try-1", SUBTASK, SITUATION, tools, 0)
    assert performed.error is None and performed.summary
    assert [call.arguments for _, call in tools.calls] == [DRAW]
    assert "steps: must be at most 50" in json.dumps(stub.requests[1]["messages"])
    assert "paint" in json.dumps(stub.requests[2]["messages"])


async def test_nulls_of_strict_schemas_are_no_arguments(stub: EngineStub, model_of: Models):
    nulls = {"criticism": None}
    subtasks = [{**each, **nulls} for each in PLAN_ARGUMENTS["subtasks"]]
    stub.answer_with(
        say("native", "make_plan", {"subtasks": subtasks}),
        say("native", "draw", {**DRAW, "steps": None}),
        say("native", "finish_subtask", {**DONE, "problem": None}),
    )
    planner = FreePlanner(model_of("native"), steps := MemorySteps())
    assert await planner.plan("plan", SITUATION, SPECS) == planned()
    tools = Tools(steps)
    assert await planner.perform("1/try-1", SUBTASK, SITUATION, tools, 0) == Performed(summary="apple.png is there")
    assert tools.calls[0][1].arguments == DRAW
    (function,) = (each["function"] for each in stub.requests[0]["tools"])
    assert function["strict"] is True and function["name"] == "make_plan"


@pytest.mark.parametrize("dialect", ["hermes", "chatglm3", "constrained"])
async def test_a_plan_fits_a_context_of_4096_tokens(stub: EngineStub, model_of: Models, dialect: str):
    """With the answer of 1024 tokens; by an estimate that is too high rather than too low."""
    stub.answer_with(say(dialect, "make_plan", PLAN_ARGUMENTS), say(dialect, "change_plan", CHANGES))
    planner = FreePlanner(model_of(dialect), MemorySteps())
    plan = await planner.plan("plan", SITUATION, SPECS)
    await planner.refine("refine", plan, plan.find("1"), [], SITUATION)
    sizes = [estimate(json.dumps(body["messages"], ensure_ascii=False)) for body in stub.requests]
    assert len(sizes) == 2 and max(sizes) <= 4096 - 1024


JOB_TOOLS = tuple(tool.spec for tool in job_tools(Catalog({})).values())
LARGEST = ("txt2img", "img2img", "inpaint", "upscale", "classify", "embed")


@pytest.mark.parametrize("preset", ["qwen2.5-7b-instruct", "rwkv-6-world", "chatglm3-6b", "zephyr-7b-beta"])
@pytest.mark.parametrize("tools", [LARGEST, (), ("no such tool",)], ids=["named", "open", "unknown"])
async def test_the_tools_of_a_subtask_fit_a_context_of_4096_tokens(
    stub: EngineStub, engine: LanguageEngine, preset: str, tools: tuple[str, ...]
):
    stub.answer_with(say(PRESETS[preset].tool_dialect, "finish_subtask", DONE))
    box = Tools(steps := MemorySteps(), JOB_TOOLS)
    planner = FreePlanner(EngineModel(engine, PRESETS[preset]), steps)
    performed = await planner.perform("1/try-1", replace(SUBTASK, tools=tools), SITUATION, box, 0)
    assert performed.error is None
    (body,) = stub.requests
    asked = json.dumps([body["messages"], body.get("tools")], ensure_ascii=False)
    assert estimate(asked) <= 4096 - 1024 and all(name in asked for name in LARGEST[:3])


@pytest.mark.parametrize("has_checks", [True, False])
async def test_the_checks_decide_where_a_model_does_not_say_that_it_is_done(
    stub: EngineStub, model_of: Models, has_checks: bool
):
    stub.answer_with(say("native", "draw", DRAW), *[Say(text="There it is!")] * 5)
    subtask = replace(SUBTASK, milestones=(Check.of("exists", files=["apple.png"]),) if has_checks else ())
    planner = FreePlanner(model_of("native"), steps := MemorySteps())
    performed = await planner.perform("1/try-1", subtask, SITUATION, Tools(steps), 0)
    assert "no useful answer" in performed.summary and (performed.error is None) is has_checks


async def test_only_the_tools_that_the_plan_names_are_offered(stub: EngineStub, model_of: Models):
    stub.answer_with(say("native", "finish_subtask", DONE))
    subtask = replace(SUBTASK, tools=("measure", "no such tool"))
    await FreePlanner(model_of("native"), steps := MemorySteps()).perform("1/t", subtask, SITUATION, Tools(steps), 0)
    assert {each["function"]["name"] for each in stub.requests[0]["tools"]} == {"measure", "finish_subtask"}


@pytest.mark.parametrize("form", ["```json\n{}\n```\n\n", "{}", "\n```\n{}```"])
async def test_arguments_that_a_model_writes_as_text_are_a_call(stub: EngineStub, model_of: Models, form: str):
    def written(arguments: object) -> Say:
        return Say(text=form.replace("{}", json.dumps(arguments)), finish_reason="length")

    stub.answer_with(written(PLAN_ARGUMENTS), written({"image": "apple.png"}), written(DONE))
    planner = FreePlanner(model_of("native"), steps := MemorySteps())
    assert await planner.plan("plan", SITUATION, SPECS) == planned()
    performed = await planner.perform("1/try-1", SUBTASK, SITUATION, tools := Tools(steps), 0)
    assert performed == Performed(summary=DONE["summary"])
    assert [(call.tool, call.arguments) for _, call in tools.calls] == [("measure", {"image": "apple.png"})]


@pytest.mark.parametrize(
    "text", ["{}", '{"x": 1}', "[1]", '{"image": "a.png", "prompt": "b"}', "```json\n```", '{"image"']
)
async def test_other_text_is_no_call(stub: EngineStub, model_of: Models, text: str):
    stub.answer_with(Say(text=text), say("native", "finish_subtask", DONE))
    tools = Tools(steps := MemorySteps())
    performed = await FreePlanner(model_of("native"), steps).perform("1/try-1", SUBTASK, SITUATION, tools, 0)
    assert performed.error is None and tools.calls == []


async def test_a_check_with_wrong_arguments_is_corrected_where_the_schema_is_short(stub: EngineStub, model_of: Models):
    wrong = {"name": "apple", "goal": "an apple", "milestones": [{"kind": "size", "arguments": {"width": 512}}]}
    stub.answer_with(say("hermes", "make_plan", {"subtasks": [wrong]}), say("hermes", "make_plan", PLAN_ARGUMENTS))
    assert await FreePlanner(model_of("hermes"), MemorySteps()).plan("plan", SITUATION, SPECS) == planned()
    assert "the check size: file: Field required" in json.dumps(stub.requests[1]["messages"])
