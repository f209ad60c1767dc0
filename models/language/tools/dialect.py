"""The base of dialects: how tools, calls and results are written for a model, and how its answers are parsed."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from models.language.client import Completion, Delta, ToolCallDelta
from models.language.tools.reader import Reader
from models.language.tools.types import ASSISTANT, USER, Event, TextTurn, Tool, ToolCall, ToolTurn, Turn

Message = dict[str, Any]
"""A message of a chat completion request."""

_CONTROL = re.compile(
    r"(?P<bracket>[<\[])(?=\||/?(?:s|think|tools?|tool_call|tool_response)>|/?(?:INST|[A-Z]+_[A-Z_]+)\])"
)


class Dialect(ABC):
    """One format of tool use; stateless, so that all conversations share one object."""

    @abstractmethod
    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """The request body: messages, and the parameters that make the model call one of ``tools``.

        Only ``system`` and the dialect's own text are instructions. The texts of ``turns`` are data; control tokens in
        them are escaped.
        """

    @abstractmethod
    def reader(self, tools: Sequence[Tool], id_prefix: str) -> Reader:
        """A parser for one streamed answer; calls without an id get ``id_prefix`` and a number."""

    @abstractmethod
    def tool_messages(self, turn: ToolTurn, call: ToolCall) -> list[Message]:
        """The messages of a call and its result, in the format of the model's training."""

    def messages(self, system: str, turns: Sequence[Turn]) -> list[Message]:
        return [
            {"role": "system", "content": system},
            *(entry for turn in turns for entry in self._turn_messages(turn)),
        ]

    def _turn_messages(self, turn: Turn) -> list[Message]:
        if isinstance(turn, TextTurn):
            return [message(turn.role, turn.text)]
        if turn.call is None:
            return [message(ASSISTANT, turn.text or "..."), message(USER, turn.answer)]
        return self.tool_messages(turn, turn.call)

    def read(self, completion: Completion, tools: Sequence[Tool], id_prefix: str) -> list[Event]:
        """The events of a whole answer."""
        calls = enumerate(completion.tool_calls)
        deltas = (ToolCallDelta(index=at, id=call.id, name=call.name, arguments=call.arguments) for at, call in calls)
        reader = self.reader(tools, id_prefix)
        return reader.feed(Delta(text=completion.text, tool_calls=tuple(deltas))) + reader.finish()


def as_data(text: str) -> str:
    """``text`` with a space inside everything that a tokenizer or chat template could read as a control token."""
    readable = text.encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub(r"\g<bracket> ", readable)


def message(role: str, text: str) -> Message:
    """A message whose text is data, with control tokens escaped."""
    return {"role": role, "content": as_data(text)}


def as_json(value: Any) -> str:
    """JSON on one line, without ASCII escapes."""
    return json.dumps(value, ensure_ascii=False)


def tool_json(tool: Tool) -> dict[str, Any]:
    """The tool as a function in OpenAI's format."""
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
