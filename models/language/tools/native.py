"""OpenAI's own tool calling, which vLLM speaks where it knows the model: the server reads the calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.language.client import Delta, ToolCallDelta
from models.language.schemas import strict
from models.language.tools.arguments import NAME_MAX_CHARS, checked, json_object
from models.language.tools.dialect import Dialect, Message, as_data, as_json
from models.language.tools.json_reader import JsonReader
from models.language.tools.nouns import Event, Exchange, Tool, ToolCall, ToolCallError, Turn

CALLS_MAX = 8
"""What is gathered of one answer; further calls are dropped."""
_ID_MAX_CHARS = 64


class Native(Dialect):
    """``tools`` with strict schemas, of which one must be called; needs vLLM's ``--enable-auto-tool-choice``."""

    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """``strict`` makes vLLM hold the answer to the schema; without it, small models leave calls as text."""
        return {
            "messages": self.messages(system, turns),
            "tools": [{"type": "function", "function": _function(tool)} for tool in tools],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        }

    def exchange(self, exchange: Exchange, call: ToolCall) -> list[Message]:
        """A call that the server is shown as its own, and a message of the role ``tool``."""
        function = {"name": call.name, "arguments": as_data(as_json(call.arguments))}
        calls = [{"id": call.id, "type": "function", "function": function}]
        return [
            {"role": "assistant", "content": as_data(exchange.text), "tool_calls": calls},
            {"role": "tool", "tool_call_id": call.id, "content": as_data(exchange.answer)},
        ]

    def reader(self, tools: Sequence[Tool], id_prefix: str) -> NativeReader:
        """Reads the calls that the server found."""
        return NativeReader(id_prefix)


def _function(tool: Tool) -> dict[str, Any]:
    parameters = strict(tool.parameters)
    return {"name": tool.name, "description": tool.description, "parameters": parameters, "strict": True}


@dataclass
class _Gathered:
    """A call of which pieces arrived."""

    index: int
    id: str | None = None
    name: str = ""
    arguments: str = ""


class NativeReader(JsonReader):
    """Puts calls together by their index, and also by their id, since some servers number all calls 0.

    A call that vLLM's own reader gives up on, for one because it was cut off, is left in the text with its tags.
    """

    def __init__(self, id_prefix: str) -> None:
        super().__init__(id_prefix, name_key="name", has_tags=True)
        self._gathered: list[_Gathered] = []

    def feed(self, delta: Delta) -> list[Event]:
        """Text at once; calls are certain when the answer is over."""
        pieces = [piece for piece in delta.tool_calls if self._state != self._deaf]
        for piece in pieces:
            self._gather(piece)
        return super().feed(delta)

    def _gather(self, piece: ToolCallDelta) -> None:
        call = next((call for call in reversed(self._gathered) if call.index == piece.index), None)
        if call is None or (piece.id and call.id and piece.id != call.id):
            if len(self._gathered) == CALLS_MAX:
                return
            call = _Gathered(piece.index)
            self._gathered.append(call)
        call.id = call.id or piece.id
        call.name = call.name or (piece.name or "")[: NAME_MAX_CHARS + 1]
        arguments = self._bounded(piece.arguments)
        call.arguments += arguments
        if len(arguments) < len(piece.arguments):
            self._give_up()

    def finish(self) -> list[Event]:
        """The rest of the text, then the calls."""
        self._is_over = True
        self._run()
        if self._state != self._deaf:
            for gathered in self._gathered:
                self._add(gathered)
        return self._taken()

    def _add(self, gathered: _Gathered) -> None:
        call_id = gathered.id if gathered.id and len(gathered.id) <= _ID_MAX_CHARS and gathered.id.isascii() else None
        self._call(lambda: _read(gathered), gathered.arguments, call_id)


def _read(gathered: _Gathered) -> tuple[str, dict[str, Any]]:
    if not 0 < len(gathered.name) <= NAME_MAX_CHARS:
        raise ToolCallError("the call lacks the name of a tool")
    return gathered.name, checked(json_object(gathered.arguments or "{}"))
