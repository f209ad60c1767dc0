"""The dialect for any chat model on vLLM, such as Zephyr-7B: no tokens for tools, but an answer held to a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.language.schemas import bounded
from models.language.tools.dialect import Dialect, Message, as_data, as_json
from models.language.tools.json_reader import JsonReader
from models.language.tools.nouns import ASSISTANT, USER, Example, Exchange, Said, Tool, ToolCall, Turn

_PROMPT = """{system}

You have these tools:
{tools}

Answer with one JSON object and nothing else: {{"tool": the tool's name, "arguments": an object with its arguments}}."""


class Constrained(Dialect):
    """Tools in the system prompt; vLLM's ``structured_outputs`` make sure that one of them is called."""

    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """The schema allows one call, with texts and lists of bounded length."""
        prompt = _PROMPT.format(system=system, tools="\n".join(map(_line, tools)))
        schema = {"anyOf": [_schema(tool) for tool in tools]}
        shown = [turn for tool in tools for example in tool.examples for turn in _shown(tool, example)]
        return {"messages": self.messages(prompt, [*shown, *turns]), "structured_outputs": {"json": schema}}

    def exchange(self, exchange: Exchange, call: ToolCall) -> list[Message]:
        """The object that was the answer, and a user message."""
        outcome = "was refused: {answer}. Call a tool again." if exchange.is_error else "answers: {answer}"
        heard = f"{call.name} {outcome.format(answer=as_data(exchange.answer))}"
        return [
            {"role": "assistant", "content": as_data(_written(call.name, call.arguments))},
            {"role": USER, "content": heard},
        ]

    def reader(self, tools: Sequence[Tool], id_prefix: str) -> JsonReader:
        """Reads objects, which a server that ignores the schema may well surround by words."""
        return JsonReader(id_prefix, name_key="tool", has_tags=False)


def _line(tool: Tool) -> str:
    return f"- {tool.name}: {tool.description} Arguments: {as_json(tool.parameters)}"


def _shown(tool: Tool, example: Example) -> tuple[Said, Said]:
    """The example as if it had happened before."""
    answer = Said(role=ASSISTANT, text=_written(tool.name, example.arguments))
    return Said(role=USER, text=example.wish), answer


def _written(name: str, arguments: Mapping[str, Any]) -> str:
    return as_json({"tool": name, "arguments": arguments})


def _schema(tool: Tool) -> dict[str, Any]:
    """What a call of this tool looks like."""
    return {
        "type": "object",
        "properties": {"tool": {"const": tool.name}, "arguments": bounded(tool.parameters)},
        "required": ["tool", "arguments"],
        "additionalProperties": False,
    }
