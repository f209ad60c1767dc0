"""The dialect of Hermes 2 Pro and of Qwen 2.5 and 3, for servers without a parser of these calls.

The models were trained on schemas in ``<tools>``, calls in ``<tool_call>`` and results in ``<tool_response>``
(github.com/NousResearch/Hermes-Function-Calling; Qwen's chat templates).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.language.tools.dialect import Dialect, Message, as_data, as_json, tool_json
from models.language.tools.json_reader import JsonReader
from models.language.tools.types import USER, Tool, ToolCall, ToolTurn, Turn

_PROMPT = """{system}

# Tools

To do what the user wants, call one of these functions. Their signatures, between <tools></tools>:
<tools>
{signatures}
</tools>

A call is a JSON object with the function's name and its arguments, between <tool_call></tool_call>:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


class Hermes(Dialect):
    """Tools in the system prompt, calls in tags."""

    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """Results are sent in user messages, as in Qwen's template; Hermes recognises them by their tags."""
        signatures = "\n".join(as_json({"type": "function", "function": tool_json(tool)}) for tool in tools)
        prompt = _PROMPT.format(system=system, signatures=signatures)
        return {"messages": self.messages(prompt, turns), "stop": ["<tool_response>"]}

    def tool_messages(self, turn: ToolTurn, call: ToolCall) -> list[Message]:
        """The call in tags, and the result in tags in a user message."""
        call_message = as_data(as_json({"name": call.name, "arguments": call.arguments}))
        before_call = f"{as_data(turn.text)}\n<tool_call>\n{call_message}\n</tool_call>".lstrip()
        result_text = f"<tool_response>\n{as_data(turn.answer)}\n</tool_response>"
        return [{"role": "assistant", "content": before_call}, {"role": USER, "content": result_text}]

    def reader(self, tools: Sequence[Tool], id_prefix: str) -> JsonReader:
        """A parser of tags, code fences and reasoning."""
        return JsonReader(id_prefix, name_key="name", has_tags=True)
