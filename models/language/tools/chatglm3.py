"""The dialect of ChatGLM3-6B: calls are Python code under a line that names the tool, results are observations.

The format is that of ``PROMPT_en.md`` in github.com/THUDM/ChatGLM3. Where its own code evaluates what the model wrote,
here it is only read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from models.language.tools.arguments import NAME_MAX_CHARS, python_call
from models.language.tools.dialect import Dialect, Message, as_data, described, message
from models.language.tools.nouns import Exchange, Tool, ToolCall, Turn
from models.language.tools.scanning import Reader

OBSERVATION = "observation"
_PROMPT = "{system}\nAnswer the following as well as you can. You have access to these tools:\n{tools}"
_FENCE, _CALL, _ASSISTANT = "```", "tool_call", "<|assistant|>"
_NAME_LINE = re.compile(rf"[ \t]*[\w.-]{{0,{NAME_MAX_CHARS}}}[ \t\r]*")
_ROLE = re.compile(r"<\|(?:assistant|user|observation|system)\|>")
_HALF_ROLE = re.compile(r"<(?:\|(?:[a-z]{1,11}\|?)?)?\Z")
_END_OF_CODE = re.compile(rf"[\n)][ \t]{{0,20}}```|{re.escape(_ASSISTANT)}")
_END_MAX_CHARS = 24
"""The longest text that ``_END_OF_CODE`` matches."""


class ChatGlm3(Dialect):
    """Tools as JSON in the system prompt.

    The chat template must write a message as ``<|role|>name`` and, on the next line, its text, where only the calls of
    the history have a ``name``; and it must end in ``<|assistant|>``, so that the model writes the name itself.
    """

    def body(self, system: str, turns: Sequence[Turn], tools: Sequence[Tool]) -> dict[str, Any]:
        """The role's tokens must be seen in the answer, since it may consist of several messages."""
        listed = json.dumps([described(tool) for tool in tools], ensure_ascii=False, indent=4)
        prompt = _PROMPT.format(system=system, tools=listed)
        stop = ["<|user|>", "<|observation|>"]
        return {"messages": self.messages(prompt, turns), "stop": stop, "skip_special_tokens": False}

    def exchange(self, exchange: Exchange, call: ToolCall) -> list[Message]:
        """What was said before, the call under its name, and the observation."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
        code = f"```python\n{_CALL}({as_data(arguments)})\n```"
        spoken = [message("assistant", exchange.text)] if exchange.text else []
        called = {"role": "assistant", "name": call.name, "content": code}
        return [*spoken, called, message(OBSERVATION, exchange.answer)]

    def reader(self, tools: Sequence[Tool], id_prefix: str) -> ChatGlm3Reader:
        """Reads an answer that begins with the name of a tool, or an empty line."""
        return ChatGlm3Reader(id_prefix, {tool.name for tool in tools})


class ChatGlm3Reader(Reader):
    """Reads messages that begin with a line that is empty, or names a tool whose call follows."""

    def __init__(self, id_prefix: str, names: Collection[str]) -> None:
        super().__init__(id_prefix)
        self._names = names
        self._line = ""
        self._seen = 0
        self._state = self._first_line

    def _first_line(self) -> bool:
        line, newline, rest = self._waiting.partition("\n")
        if not newline and not self._is_over and _NAME_LINE.fullmatch(line):
            return False
        self._state = self._prose
        if newline and not line.strip():
            self._waiting = rest
        elif line.strip() in self._names or (newline and _NAME_LINE.fullmatch(line)):
            self._line, self._waiting = line + newline, rest
            self._state = self._second_line
        return True

    def _second_line(self) -> bool:
        """After a line that may name a tool: it does if code follows; a tool that we know must be called."""
        rest = self._waiting.lstrip()
        if not self._is_over and (_FENCE.startswith(rest) or _CALL.startswith(rest)) and rest not in (_FENCE, _CALL):
            return False
        if rest.startswith((_FENCE, _CALL)) or self._line.strip() in self._names:
            self._waiting = rest
            self._seen = len(_FENCE)
            self._state = self._code
        else:
            self._waiting = self._line + self._waiting
            self._state = self._prose
        return True

    def _code(self) -> bool:
        end = _END_OF_CODE.search(self._waiting, self._seen)
        self._seen = max(self._seen, len(self._waiting) - _END_MAX_CHARS)
        if end is None and not self._is_over:
            return False
        code = self._waiting[: end.end()].removesuffix(_ASSISTANT) if end else self._waiting
        self._waiting = self._waiting[len(code) :]
        self._add(code)
        self._state = self._prose
        return True

    def _add(self, code: str) -> None:
        name = self._line.strip()
        bare = re.sub(r"\A```\w*|```\Z", "", code.strip())
        self._call(lambda: (name, python_call(bare)), self._line + code)

    def _prose(self) -> bool:
        role = _ROLE.search(self._waiting)
        if role is None:
            half = None if self._is_over else _HALF_ROLE.search(self._waiting)
            keep = half.start() if half else len(self._waiting)
            self._say(self._waiting[:keep])
            self._waiting = self._waiting[keep:]
            return False
        self._say(self._waiting[: role.start()] + "\n")
        self._waiting = self._waiting[role.end() :]
        self._state = self._first_line if role[0] == _ASSISTANT else self._deaf
        return True
