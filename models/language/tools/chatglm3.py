"""The dialect of ChatGLM3-6B: calls are Python code under a line that names the tool, results are observations.

The format is that of ``PROMPT_en.md`` in github.com/THUDM/ChatGLM3. That repository's code evaluates the
model's output; here it is only parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from models.language.tools.arguments import NAME_MAX_CHARS, python_call
from models.language.tools.dialect import Dialect, Message, as_data, message, tool_json
from models.language.tools.reader import Reader
from models.language.tools.types import Tool, ToolCall, ToolTurn, Turn

OBSERVATION = "observation"
_PROMPT = "{system}\nAnswer the following as well as you can. You have access to these tools:\n{tools}"
_FENCE, _CALL, _ASSISTANT = "```", "tool_call", "<|assistant|>"
_NAME_LINE = re.compile(rf"[ \t]*[\w.-]{{0,{NAME_MAX_CHARS}}}[ \t\r]*")
_ROLE = re.compile(r"<\|(?:assistant|user|observation|system)\|>")
_PARTIAL_ROLE = re.compile(r"<(?:\|(?:[a-z]{1,11}\|?)?)?\Z")
_END_OF_CODE = re.compile(rf"[\n)][ \t]{{0,20}}```|{re.escape(_ASSISTANT)}")
_END_MAX_CHARS = 24
"""The length of the longest match of ``_END_OF_CODE``."""


class ChatGlm3(Dialect):
    """Tools as JSON in the system prompt.

    The chat template must write ``<|role|>name``, a line end and the text for each message, where only calls in the
    history have a name. It must end with ``<|assistant|>``, so that the model writes the name itself.
    """

    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """Special tokens are kept, because an answer may consist of several messages separated by role tokens."""
        listed = json.dumps([tool_json(tool) for tool in tools], ensure_ascii=False, indent=4)
        prompt = _PROMPT.format(system=system, tools=listed)
        stop = ["<|user|>", "<|observation|>"]
        return {"messages": self.messages(prompt, turns), "stop": stop, "skip_special_tokens": False}

    def tool_messages(self, turn: ToolTurn, call: ToolCall) -> list[Message]:
        """The text before the call, the call with the tool's name, and the observation."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
        code = f"```python\n{_CALL}({as_data(arguments)})\n```"
        before_call = [message("assistant", turn.text)] if turn.text else []
        call_message = {"role": "assistant", "name": call.name, "content": code}
        return [*before_call, call_message, message(OBSERVATION, turn.answer)]

    def reader(self, tools: Sequence[Tool], id_prefix: str) -> ChatGlm3Reader:
        """A parser of an answer that begins with the name of a tool, or an empty line."""
        return ChatGlm3Reader(id_prefix, {tool.name for tool in tools})


class ChatGlm3Reader(Reader):
    """Parses messages that begin with an empty line, or with the name of a tool whose call follows."""

    def __init__(self, id_prefix: str, names: Collection[str]) -> None:
        super().__init__(id_prefix)
        self._names = names
        self._line = ""
        self._searched_chars = 0
        self._state = self._first_line

    def _first_line(self) -> bool:
        line, newline, rest = self._buffer.partition("\n")
        if not newline and not self._is_over and _NAME_LINE.fullmatch(line):
            return False
        self._state = self._text
        if newline and not line.strip():
            self._buffer = rest
        elif line.strip() in self._names or (newline and _NAME_LINE.fullmatch(line)):
            self._line, self._buffer = line + newline, rest
            self._state = self._second_line
        return True

    def _second_line(self) -> bool:
        """After a line that may be a tool's name: it is one if code follows, or if the tool is known."""
        rest = self._buffer.lstrip()
        if not self._is_over and (_FENCE.startswith(rest) or _CALL.startswith(rest)) and rest not in (_FENCE, _CALL):
            return False
        if rest.startswith((_FENCE, _CALL)) or self._line.strip() in self._names:
            self._buffer = rest
            self._searched_chars = len(_FENCE)
            self._state = self._code
        else:
            self._buffer = self._line + self._buffer
            self._state = self._text
        return True

    def _code(self) -> bool:
        end = _END_OF_CODE.search(self._buffer, self._searched_chars)
        self._searched_chars = max(self._searched_chars, len(self._buffer) - _END_MAX_CHARS)
        if end is None and not self._is_over:
            return False
        code = self._buffer[: end.end()].removesuffix(_ASSISTANT) if end else self._buffer
        self._buffer = self._buffer[len(code) :]
        self._add(code)
        self._state = self._text
        return True

    def _add(self, code: str) -> None:
        name = self._line.strip()
        bare = re.sub(r"\A```\w*|```\Z", "", code.strip())
        self._call(lambda: (name, python_call(bare)), self._line + code)

    def _text(self) -> bool:
        role = _ROLE.search(self._buffer)
        if role is None:
            partial_match = None if self._is_over else _PARTIAL_ROLE.search(self._buffer)
            keep = partial_match.start() if partial_match else len(self._buffer)
            self._emit_text(self._buffer[:keep])
            self._buffer = self._buffer[keep:]
            return False
        self._emit_text(self._buffer[: role.start()] + "\n")
        self._buffer = self._buffer[role.end() :]
        self._state = self._first_line if role[0] == _ASSISTANT else self._ignore_rest
        return True
