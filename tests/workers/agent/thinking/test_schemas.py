"""The schemas that a model is shown: all that decides is in them, and they are short where the context is small."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema_rs

from models.agent.plan_schema import PLAN_CHANGE_SCHEMA, PLAN_SCHEMA
from models.catalog.catalog import Catalog
from tests.engine_stub import EngineStub
from tests.workers.agent.thinking.parts import CHANGES, PLAN_ARGUMENTS, SITUATION, SUBTASK, MemorySteps, Tools, say
from workers.agent.job_tools import job_tools
from workers.agent.seams import Performed
from workers.agent.thinking.engine_model import EngineModel
from workers.agent.thinking.planner import FreePlanner
from workers.agent.thinking.schemas import shown, written


def test_short_schemas_allow_what_the_full_ones_allow():
    for is_short in (False, True):
        assert jsonschema_rs.is_valid(written(PLAN_SCHEMA, is_short=is_short), PLAN_ARGUMENTS)
        assert jsonschema_rs.is_valid(written(PLAN_CHANGE_SCHEMA, is_short=is_short), CHANGES["changes"][0])
    full, short = (len(json.dumps(written(PLAN_SCHEMA, is_short=is_short))) for is_short in (False, True))
    assert short < full / 2 and "likeness: file (text), text (text)" in json.dumps(written(PLAN_SCHEMA, is_short=True))


def test_a_property_that_is_called_title_stays():
    schema = {"type": "object", "title": "T", "properties": {"title": {"type": "string", "default": ""}}}
    assert written(schema, is_short=False) == {"type": "object", "properties": {"title": {"type": "string"}}}


def test_tools_that_draw_are_shown_by_what_matters():
    catalog = Catalog.parse("", Path("none.toml"))
    for tool in job_tools(catalog).values():
        assert shown(tool.spec.parameters, is_short=False) == written(tool.spec.parameters, is_short=False)
    parameters = job_tools(catalog)["txt2img"].spec.parameters
    found = shown(parameters, is_short=True)
    assert found["required"] == parameters["required"] and found["additionalProperties"] is False
    assert {"prompt", "save_as", "width", "height", "seed"} <= set(found["properties"])
    assert "description" in found["properties"]["prompt"] and "description" not in found["properties"]["seed"]
    assert "controls" not in found["properties"]


async def test_what_is_not_shown_can_be_called(stub: EngineStub, model_of: Callable[..., EngineModel]):
    spec = job_tools(Catalog.parse("", Path("none.toml")))["txt2img"].spec
    arguments = {"prompt": "a fox", "save_as": "fox.png", "variation": {"seed": 3, "strength": 0.2}}
    stub.answer_with(say("hermes", "txt2img", arguments), say("hermes", "finish_subtask", {"summary": "done"}))
    tools = Tools(MemorySteps(), specs=[spec])
    performed = await FreePlanner(model_of("hermes"), tools.steps).perform("1", SUBTASK, SITUATION, tools, 0)
    assert performed == Performed(summary="done") and tools.calls[0][1].arguments == arguments
    assert "variation" not in stub.requests[0]["messages"][0]["content"]
