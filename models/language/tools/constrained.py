"""The dialect for any chat model on vLLM, such as Zephyr-7B: no tool tokens, but output constrained by a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.language.schemas import bounded
from models.language.tools.dialect import Dialect, Message, as_data, as_json
from models.language.tools.json_reader import JsonReader
from models.language.tools.types import ASSISTANT, USER, Example, TextTurn, Tool, ToolCall, ToolTurn, Turn

_PROMPT = """{system}

You have these tools:
{tools}

Answer with one JSON object and nothing else: {{"tool": the tool's name, "arguments": an object with its arguments}}."""


class Constrained(Dialect):
    """Tools in the system prompt; vLLM's ``structured_outputs`` enforce a call of one of them."""

    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """The schema allows one call, with strings and arrays of bounded length."""
        prompt = _PROMPT.format(system=system, tools="\n".join(map(_line, tools)))
        schema = {"anyOf": [_schema(tool) for tool in tools]}
        shown = [turn for tool in tools for example in tool.examples for turn in _example_turns(tool, example)]
        return {"messages": self.messages(prompt, [*shown, *turns]), "structured_outputs": {"json": schema}}

    def tool_messages(self, turn: ToolTurn, call: ToolCall) -> list[Message]:
        """The call as an assistant message, and the result as a user message."""
        outcome = "was refused: {answer}. Call a tool again." if turn.is_error else "answers: {answer}"
        result_text = f"{call.name} {outcome.format(answer=as_data(turn.answer))}"
        return [
            {"role": "assistant", "content": as_data(_call_json(call.name, call.arguments))},
            {"role": USER, "content": result_text},
        ]

    def reader(self, tools: Sequence[Tool], id_prefix: str) -> JsonReader:
        """A parser of JSON objects, also with text around them, in case a server ignores the schema."""
        return JsonReader(id_prefix, name_key="tool", has_tags=False)


def _line(tool: Tool) -> str:
    return f"- {tool.name}: {tool.description} Arguments: {as_json(tool.parameters)}"


def _example_turns(tool: Tool, example: Example) -> tuple[TextTurn, TextTurn]:
    """The example as two earlier turns."""
    answer = TextTurn(role=ASSISTANT, text=_call_json(tool.name, example.arguments))
    return TextTurn(role=USER, text=example.request), answer


def _call_json(name: str, arguments: Mapping[str, Any]) -> str:
    return as_json({"tool": name, "arguments": arguments})


def _schema(tool: Tool) -> dict[str, Any]:
    """The schema of a call of ``tool``."""
    return {
        "type": "object",
        "properties": {"tool": {"const": tool.name}, "arguments": bounded(tool.parameters)},
        "required": ["tool", "arguments"],
        "additionalProperties": False,
    }
