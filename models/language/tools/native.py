"""OpenAI's tool calling: the server parses the calls, as vLLM does for models that it supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.language.client import Delta, ToolCallDelta
from models.language.schemas import strict
from models.language.tools.arguments import NAME_MAX_CHARS, checked, json_object
from models.language.tools.dialect import Dialect, Message, as_data, as_json
from models.language.tools.json_reader import JsonReader
from models.language.tools.types import Event, Tool, ToolCall, ToolCallError, ToolTurn, Turn

CALLS_MAX = 8
"""Further calls in an answer are dropped."""
_ID_MAX_CHARS = 64


class Native(Dialect):
    """``tools`` with strict schemas and ``tool_choice: required``; needs vLLM's ``--enable-auto-tool-choice``."""

    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """``strict`` makes vLLM constrain the output by the schema; otherwise small models write calls as text."""
        return {
            "messages": self.messages(system, turns),
            "tools": [{"type": "function", "function": _function(tool)} for tool in tools],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        }

    def tool_messages(self, turn: ToolTurn, call: ToolCall) -> list[Message]:
        """The call as the assistant's, and the result as a message of the role ``tool``."""
        function = {"name": call.name, "arguments": as_data(as_json(call.arguments))}
        calls = [{"id": call.id, "type": "function", "function": function}]
        return [
            {"role": "assistant", "content": as_data(turn.text), "tool_calls": calls},
            {"role": "tool", "tool_call_id": call.id, "content": as_data(turn.answer)},
        ]

    def reader(self, tools: Sequence[Tool], id_prefix: str) -> NativeReader:
        """A parser of the calls in the response."""
        return NativeReader(id_prefix)


def _function(tool: Tool) -> dict[str, Any]:
    parameters = strict(tool.parameters)
    return {"name": tool.name, "description": tool.description, "parameters": parameters, "strict": True}


@dataclass
class _PartialCall:
    """A call whose pieces are being collected."""

    index: int
    id: str | None = None
    name: str = ""
    arguments: str = ""


class NativeReader(JsonReader):
    """Collects calls by index, and also by id, because some servers give all calls the index 0.

    If vLLM's own parser fails, for example on a truncated call, the call remains in the text with its tags.
    """

    def __init__(self, id_prefix: str) -> None:
        super().__init__(id_prefix, name_key="name", has_tags=True)
        self._partial_calls: list[_PartialCall] = []

    def feed(self, delta: Delta) -> list[Event]:
        """Text is emitted at once; calls are complete only at the end of the answer."""
        pieces = [piece for piece in delta.tool_calls if self._state != self._ignore_rest]
        for piece in pieces:
            self._collect(piece)
        return super().feed(delta)

    def _collect(self, piece: ToolCallDelta) -> None:
        call = next((call for call in reversed(self._partial_calls) if call.index == piece.index), None)
        if call is None or (piece.id and call.id and piece.id != call.id):
            if len(self._partial_calls) == CALLS_MAX:
                return
            call = _PartialCall(piece.index)
            self._partial_calls.append(call)
        call.id = call.id or piece.id
        call.name = call.name or (piece.name or "")[: NAME_MAX_CHARS + 1]
        arguments = self._bounded(piece.arguments)
        call.arguments += arguments
        if len(arguments) < len(piece.arguments):
            self._stop_reading()

    def finish(self) -> list[Event]:
        """The rest of the text, then the calls."""
        self._is_over = True
        self._run()
        if self._state != self._ignore_rest:
            for partial in self._partial_calls:
                self._add(partial)
        return self._take_events()

    def _add(self, partial: _PartialCall) -> None:
        call_id = partial.id if partial.id and len(partial.id) <= _ID_MAX_CHARS and partial.id.isascii() else None
        self._call(lambda: _read(partial), partial.arguments, call_id)


def _read(partial: _PartialCall) -> tuple[str, dict[str, Any]]:
    if not 0 < len(partial.name) <= NAME_MAX_CHARS:
        raise ToolCallError("the call lacks the name of a tool")
    return partial.name, checked(json_object(partial.arguments or "{}"))
