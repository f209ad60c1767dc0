"""What the engine is sent: tools, earlier calls and their results, in the shape that each model knows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest

import models.language
from models.language.client import Delta
from models.language.tools import DIALECTS, Example, Tool, ToolCall
from models.language.tools.dialect import as_data
from models.language.tools.types import TextTurn, ToolTurn, Turn
from tests.models.language.tools.recordings import plain, read_all

ARGUMENTS = {"prompt": 'it\'s a "cat"\n猫', "steps": -4, "seed": None, "is_big": True}
TOOL = Tool(
    name="create_image",
    description="Draws.",
    parameters={
        "type": "object",
        "properties": {"prompt": {"type": "string"}, "steps": {"type": "integer"}},
        "required": ["prompt"],
    },
)
CALL = ToolCall(id="call-1-1", name="create_image", arguments=ARGUMENTS)
TURNS: list[Turn] = [
    TextTurn(role="user", text="draw a cat"),
    ToolTurn(text="Well.", call=CALL, answer='{"ok": true}', is_error=False),
    ToolTurn(text="", call=CALL, answer="steps: must be at least 1", is_error=True),
    ToolTurn(text="I cannot.", call=None, answer="no tool was called", is_error=True),
]


def messages(dialect: str, turns: list[Turn] = TURNS) -> list[dict[str, Any]]:
    body = DIALECTS[dialect].body("Be kind.", turns, [TOOL])
    json.dumps(body)
    return body["messages"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_only_the_system_prompt_instructs(dialect: str):
    found = messages(dialect)
    assert [entry["role"] for entry in found].count("system") == 1
    assert found[0]["role"] == "system" and found[0]["content"].startswith("Be kind.")
    assert "draw a cat" not in found[0]["content"]
    assert found[1] == {"role": "user", "content": "draw a cat"}
    assert found[-1] == {"role": "user", "content": "no tool was called"}


@pytest.mark.parametrize("dialect", ["hermes", "chatglm3", "constrained"])
def test_the_model_is_told_of_the_tools(dialect: str):
    prompt = messages(dialect)[0]["content"]
    assert '"create_image"' in prompt or "create_image:" in prompt
    assert "Draws." in prompt and '"prompt"' in prompt


@pytest.mark.parametrize("dialect", ["hermes", "chatglm3", "constrained"])
def test_a_call_in_the_history_reads_as_the_same_call(dialect: str):
    before_call = [entry for entry in messages(dialect) if entry["role"] == "assistant"]
    texts = [f"{entry['name']}\n {entry['content']}" if "name" in entry else entry["content"] for entry in before_call]
    found = [entry for text in texts for entry in read_all(DIALECTS[dialect].reader([TOOL], "c"), [Delta(text=text)])]
    assert [entry for entry in found if entry[0] == "call"] == [["call", "create_image", ARGUMENTS]] * 2


def test_native_history():
    found = messages("native")
    (function,) = found[2]["tool_calls"]
    assert found[2]["content"] == "Well." and function["id"] == "call-1-1"
    assert json.loads(function["function"]["arguments"]) == ARGUMENTS
    assert found[3] == {"role": "tool", "tool_call_id": "call-1-1", "content": '{"ok": true}'}


def test_hermes_history():
    assert messages("hermes")[3] == {"role": "user", "content": '<tool_response>\n{"ok": true}\n</tool_response>'}


def test_chatglm3_history():
    roles = [(entry["role"], entry.get("name")) for entry in messages("chatglm3")[1:6]]
    call_message = ("assistant", "create_image")
    assert roles == [("user", None), ("assistant", None), call_message, ("observation", None), call_message]


def test_constrained_history():
    found = messages("constrained")
    assert found[3]["content"] == 'create_image answers: {"ok": true}'
    assert "was refused: steps: must be at least 1" in found[5]["content"]


def test_native_asks_for_a_strict_call():
    body = DIALECTS["native"].body("", [], [TOOL])
    (function,) = (entry["function"] for entry in body["tools"])
    assert function["strict"] is True and body["tool_choice"] == "required" and body["parallel_tool_calls"] is False
    assert function["parameters"]["additionalProperties"] is False
    assert function["parameters"]["required"] == ["prompt", "steps"]
    assert function["parameters"]["properties"]["steps"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def test_constrained_holds_the_answer_to_a_schema():
    body = DIALECTS["constrained"].body("", [], [TOOL])
    (branch,) = body["structured_outputs"]["json"]["anyOf"]
    arguments = branch["properties"]["arguments"]
    assert branch["properties"]["tool"] == {"const": "create_image"} and branch["additionalProperties"] is False
    assert arguments["properties"]["prompt"] == {"type": "string", "maxLength": 600}
    assert arguments["additionalProperties"] is False


def test_constrained_shows_examples_before_everything_else():
    shown = replace(TOOL, examples=(Example(request="a dog", arguments={"prompt": "dog"}),))
    found = DIALECTS["constrained"].body("", TURNS[:1], [shown])["messages"][1:]
    call = '{"tool": "create_image", "arguments": {"prompt": "dog"}}'
    assert [entry["content"] for entry in found] == ["a dog", call, "draw a cat"]
    assert [entry["role"] for entry in found] == ["user", "assistant", "user"]


def test_chatglm3_keeps_the_roles_tokens_in_the_answer_and_stops_at_the_user():
    body = DIALECTS["chatglm3"].body("", [], [TOOL])
    assert body["skip_special_tokens"] is False and "<|user|>" in body["stop"]


CONTROL = (
    "<|im_start|>system", "<|observation|>", "</s>", "<s>", "<tool_call>", "</tool_response>", "<tools>", "<think>",
    "[INST]", "[/INST]", "[TOOL_CALLS]",
)  # fmt: skip


@pytest.mark.parametrize("token", CONTROL)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_nobody_smuggles_control_tokens(dialect: str, token: str):
    call = ToolCall(id="c", name="create_image", arguments={"prompt": f"a{token}"})
    plain_call = ToolCall(id="c", name="create_image", arguments={"prompt": "a"})
    turns: list[Turn] = [TextTurn(role="user", text=f"hi {token}")]
    turns += [ToolTurn(text=f"b{token}", call=call, answer=f"c{token}", is_error=False)]
    turns += [ToolTurn(text=f"b{token}", call=None, answer=f"c{token}", is_error=True)]
    harmless: list[Turn] = [TextTurn(role="user", text="hi ")]
    harmless += [ToolTurn(text="b", call=plain_call, answer="c", is_error=False)]
    harmless += [ToolTurn(text="b", call=None, answer="c", is_error=True)]
    assert str(messages(dialect, turns)).count(token) == str(messages(dialect, harmless)).count(token)


def test_prompts_keep_their_own_brackets():
    prompt = "a <lora:x:0.8> [cat] (dog:1.2), 1 < 2, <b>, [BREAK]"
    assert as_data(prompt) == prompt
    assert as_data("a\ud800b") == "a?b"


def test_chatglm3s_template_names_the_tool_where_the_model_expects_it():
    path = Path(models.language.__file__).parent / "templates" / "chatglm3.jinja"
    rendered = jinja2.Template(path.read_text("utf-8")).render(
        messages=messages("chatglm3"), add_generation_prompt=True
    )
    assert "<|assistant|>create_image\n ```python\ntool_call(prompt=" in rendered
    assert '<|observation|>\n {"ok": true}<|assistant|>create_image' in rendered
    answer = rendered.split("<|user|>\n draw a cat<|assistant|>")[1].split("<|observation|>")[0]
    found = plain(DIALECTS["chatglm3"].reader([TOOL], "c").feed(Delta(text=answer)))
    assert found == [["text", "Well."], ["call", "create_image", ARGUMENTS]]
