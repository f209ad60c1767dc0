"""Parses answers that call tools by JSON objects: in ``<tool_call>`` tags, in code fences, or bare."""

from __future__ import annotations

import re
from collections.abc import Callable

from models.language.tools.arguments import json_call
from models.language.tools.reader import MarkedReader

_OPEN_TAG, _CLOSE_TAG, _FENCE = "<tool_call>", "</tool_call>", "```"
_TAGS = (_OPEN_TAG, _CLOSE_TAG)
_TAGGED = re.compile(rf"<think>|{_OPEN_TAG}|```\w*\s*(?={_OPEN_TAG}|\{{)")
_BARE = re.compile(r"<think>|```\w*\s*(?=\{)|\{")
_PARTIAL_MARKER = re.compile(r"(?:```\w*\s*(?:`{1,2}|<[a-z_]{0,10})?|`{1,2}|<[a-z_]{0,10})\Z")
_IN_TEXT, _OUTSIDE = re.compile(r'["\\]'), re.compile(r'["{}\[\]]')


class ObjectEnd:
    """Finds the end of the JSON object at the start of a growing text; scans every character once."""

    def __init__(self) -> None:
        self._position = 0
        self._depth = 0
        self._is_in_text = False

    def find(self, text: str) -> int | None:
        """The index after the object; ``None`` if it is incomplete."""
        while mark := (_IN_TEXT if self._is_in_text else _OUTSIDE).search(text, self._position):
            self._position = mark.end()
            if mark[0] == "\\":
                self._position += 1  # the next character is escaped
            elif mark[0] == '"':
                self._is_in_text = not self._is_in_text
            else:
                self._depth += 1 if mark[0] in "{[" else -1
                if self._depth <= 0:
                    return self._position
        self._position = max(self._position, len(text))
        return None


class JsonReader(MarkedReader):
    """Calls are ``{name_key: ..., "arguments": {...}}``.

    With ``has_tags`` calls are in tags; an object in a code fence is a call if it has ``name_key``, else text. Without
    ``has_tags`` every object is a call. Brackets determine the end of an object, so tags inside strings are harmless.
    """

    partial_marker = _PARTIAL_MARKER

    def __init__(self, id_prefix: str, *, name_key: str, has_tags: bool) -> None:
        super().__init__(id_prefix)
        self.markers = _TAGGED if has_tags else _BARE
        self._has_tags = has_tags
        self._name_key = name_key
        self._fence = ""
        self._object = ""
        self._end = ObjectEnd()

    def _open(self, mark: str) -> None:
        if mark == _OPEN_TAG:
            self._state = self._tag
        elif mark.startswith("<"):
            self._state = self._reasoning
        elif mark == "{":
            self._buffer = mark + self._buffer
            self._expect_object(self._untagged)
        else:
            self._fence = mark
            if self._buffer.startswith("{"):
                self._expect_object(self._untagged)

    def _expect_object(self, state: Callable[[], bool]) -> None:
        self._end = ObjectEnd()
        self._state = state

    def _has_object(self) -> bool:
        """Move the object, or its remainder at the end of the answer, from the buffer to ``_object``; False to wait."""
        end = self._end.find(self._buffer)
        if end is None and not self._is_over:
            return False
        self._object = self._buffer[:end]
        self._buffer = self._buffer[len(self._object) :]
        return True

    def _untagged(self) -> bool:
        """Inside an object that is bare or in a code fence."""
        if not self._has_object():
            return False
        if self._has_tags and f'"{self._name_key}"' not in self._object:
            self._emit_text(self._fence + self._object)
            self._fence = ""
        else:
            self._call_object()
        self._state = self._after
        return True

    def _tag(self) -> bool:
        """After an opening tag."""
        self._buffer = self._buffer.lstrip()
        if not self._buffer and not self._is_over:
            return False
        if self._buffer.startswith("{"):
            self._expect_object(self._tagged)
        else:
            self._object = ""
            self._state = self._malformed_tag
        return True

    def _tagged(self) -> bool:
        """Inside the object after an opening tag."""
        if not self._has_object():
            return False
        self._state = self._end_of_tag
        return True

    def _end_of_tag(self) -> bool:
        """After that object: a closing tag, a missing one, or other text, which is an error."""
        rest = self._buffer.lstrip()
        if not self._is_over and (_CLOSE_TAG.startswith(rest) or _OPEN_TAG.startswith(rest)) and rest not in _TAGS:
            return False
        if rest and not rest.startswith(_TAGS):
            self._state = self._malformed_tag
            return True
        self._call_object()
        self._buffer = rest.removeprefix(_CLOSE_TAG)
        self._state = self._after
        return True

    def _malformed_tag(self) -> bool:
        """Inside a tag with something other than one object; its content is not shown to the user."""
        before, closing, rest = self._buffer.partition(_CLOSE_TAG)
        if not closing and not self._is_over:
            return False
        self._report_bad_call(
            f"between {_OPEN_TAG} and {_CLOSE_TAG} there must be one JSON object", self._object + before
        )
        self._buffer, self._state = rest, self._after
        return True

    def _after(self) -> bool:
        """After a call; drops the end of a code fence that was opened before it."""
        rest = self._buffer.lstrip()
        if self._fence and not self._is_over and len(rest) < len(_FENCE) and _FENCE.startswith(rest):
            return False
        if self._fence and _FENCE.startswith(rest[: len(_FENCE)]):
            self._buffer = rest[len(_FENCE) :]
        self._fence = ""
        self._state = self._text
        return True

    def _call_object(self) -> None:
        raw = self._object
        self._call(lambda: json_call(raw, self._name_key), raw)
