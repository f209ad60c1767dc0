"""The dialect of Hermes 2 Pro and of Qwen 2.5 and 3, for servers that do not read these calls themselves.

The model was trained on schemas in ``<tools>``, calls in ``<tool_call>`` and results in ``<tool_response>``
(github.com/NousResearch/Hermes-Function-Calling; Qwen's chat templates).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.language.tools.dialect import Dialect, Message, as_data, as_json, described
from models.language.tools.json_reader import JsonReader
from models.language.tools.nouns import USER, Exchange, Tool, ToolCall, Turn

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
        """Results go into user messages, where Qwen's template puts them; Hermes knows them by their tags."""
        signatures = "\n".join(as_json({"type": "function", "function": described(tool)}) for tool in tools)
        prompt = _PROMPT.format(system=system, signatures=signatures)
        return {"messages": self.messages(prompt, turns), "stop": ["<tool_response>"]}

    def exchange(self, exchange: Exchange, call: ToolCall) -> list[Message]:
        """The call in its tags, and the result in a user message, in tags too."""
        called = as_data(as_json({"name": call.name, "arguments": call.arguments}))
        spoken = f"{as_data(exchange.text)}\n<tool_call>\n{called}\n</tool_call>".lstrip()
        heard = f"<tool_response>\n{as_data(exchange.answer)}\n</tool_response>"
        return [{"role": "assistant", "content": spoken}, {"role": USER, "content": heard}]

    def reader(self, tools: Sequence[Tool], id_prefix: str) -> JsonReader:
        """Reads tags, fences and thoughts."""
        return JsonReader(id_prefix, name_key="name", has_tags=True)
