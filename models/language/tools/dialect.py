"""What a dialect is: how a model is told of tools and of what became of its calls, and how its answers are read."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from models.language.client import Completion, Delta, ToolCallDelta
from models.language.tools.nouns import ASSISTANT, USER, Event, Exchange, Said, Tool, ToolCall, Turn
from models.language.tools.scanning import Reader

Message = dict[str, Any]
"""A message of OpenAI's chat completions."""

_CONTROL = re.compile(
    r"(?P<bracket>[<\[])(?=\||/?(?:s|think|tools?|tool_call|tool_response)>|/?(?:INST|[A-Z]+_[A-Z_]+)\])"
)


class Dialect(ABC):
    """One way to use tools; without state, so that one object serves all conversations."""

    @abstractmethod
    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """The request: messages, and what else makes the model call one of ``tools``.

        Only the dialect's own words and ``system`` are instructions. The texts of ``turns`` are data, in which
        nothing can pass for a control token.
        """

    @abstractmethod
    def reader(self, tools: Sequence[Tool], id_prefix: str) -> Reader:
        """What reads one answer in pieces; calls that come without an id are numbered after ``id_prefix``."""

    @abstractmethod
    def exchange(self, exchange: Exchange, call: ToolCall) -> list[Message]:
        """The messages of a call and what it came to, in the shape that the model knows."""

    def messages(self, system: str, turns: Sequence[Turn]) -> list[Message]:
        """The system prompt, and all turns after it."""
        return [{"role": "system", "content": system}, *(entry for turn in turns for entry in self._of(turn))]

    def _of(self, turn: Turn) -> list[Message]:
        if isinstance(turn, Said):
            return [message(turn.role, turn.text)]
        if turn.call is None:
            return [message(ASSISTANT, turn.text or "..."), message(USER, turn.answer)]
        return self.exchange(turn, turn.call)

    def read(self, completion: Completion, tools: Sequence[Tool], id_prefix: str) -> list[Event]:
        """What a whole answer consists of."""
        calls = enumerate(completion.tool_calls)
        deltas = (ToolCallDelta(index=at, id=call.id, name=call.name, arguments=call.arguments) for at, call in calls)
        reader = self.reader(tools, id_prefix)
        return reader.feed(Delta(text=completion.text, tool_calls=tuple(deltas))) + reader.finish()


def as_data(text: str) -> str:
    """The same text, with a blank in whatever a tokenizer or a chat template could take for a control token."""
    readable = text.encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub(r"\g<bracket> ", readable)


def message(role: str, text: str) -> Message:
    """A message whose text is data."""
    return {"role": role, "content": as_data(text)}


def as_json(value: Any) -> str:
    """JSON on one line, as short and as readable as it gets."""
    return json.dumps(value, ensure_ascii=False)


def described(tool: Tool) -> dict[str, Any]:
    """The tool as models know it from their training."""
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
