"""Reads answers that call tools by JSON objects: in ``<tool_call>`` tags, in code fences, or bare."""

from __future__ import annotations

import re
from collections.abc import Callable

from models.language.tools.arguments import json_call
from models.language.tools.scanning import MarkedReader

_OPEN_TAG, _CLOSE_TAG, _FENCE = "<tool_call>", "</tool_call>", "```"
_TAGS = (_OPEN_TAG, _CLOSE_TAG)
_TAGGED = re.compile(rf"<think>|{_OPEN_TAG}|```\w*\s*(?={_OPEN_TAG}|\{{)")
_BARE = re.compile(r"<think>|```\w*\s*(?=\{)|\{")
_HALF_OPEN = re.compile(r"(?:```\w*\s*(?:`{1,2}|<[a-z_]{0,10})?|`{1,2}|<[a-z_]{0,10})\Z")
_IN_TEXT, _OUTSIDE = re.compile(r'["\\]'), re.compile(r'["{}\[\]]')


class ObjectEnd:
    """Finds where the JSON object ends with which a growing text begins; every character is looked at once."""

    def __init__(self) -> None:
        self._position = 0
        self._depth = 0
        self._is_in_text = False

    def find(self, text: str) -> int | None:
        """The index after the end; ``None`` if there is none yet."""
        while mark := (_IN_TEXT if self._is_in_text else _OUTSIDE).search(text, self._position):
            self._position = mark.end()
            if mark[0] == "\\":
                self._position += 1  # whatever comes next is no mark
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

    With ``has_tags`` they stand in tags; an object in a code fence counts if it names a tool, and is text otherwise.
    Without, every object is a call. Where an object ends is told by its brackets, so that tags within texts do no harm.
    """

    half_open = _HALF_OPEN

    def __init__(self, id_prefix: str, *, name_key: str, has_tags: bool) -> None:
        super().__init__(id_prefix)
        self.opening = _TAGGED if has_tags else _BARE
        self._has_tags = has_tags
        self._name_key = name_key
        self._fence = ""
        self._object = ""
        self._end = ObjectEnd()

    def _open(self, mark: str) -> None:
        if mark == _OPEN_TAG:
            self._state = self._tag
        elif mark.startswith("<"):
            self._state = self._thought
        elif mark == "{":
            self._waiting = mark + self._waiting
            self._expect_object(self._untagged)
        else:
            self._fence = mark
            if self._waiting.startswith("{"):
                self._expect_object(self._untagged)

    def _expect_object(self, state: Callable[[], bool]) -> None:
        self._end = ObjectEnd()
        self._state = state

    def _has_object(self) -> bool:
        """Whether the object, or all there will ever be of it, could be taken off the waiting text."""
        end = self._end.find(self._waiting)
        if end is None and not self._is_over:
            return False
        self._object = self._waiting[:end]
        self._waiting = self._waiting[len(self._object) :]
        return True

    def _untagged(self) -> bool:
        """In an object that is bare or in a fence."""
        if not self._has_object():
            return False
        if self._has_tags and f'"{self._name_key}"' not in self._object:
            self._say(self._fence + self._object)
            self._fence = ""
        else:
            self._call_object()
        self._state = self._after
        return True

    def _tag(self) -> bool:
        """After an opening tag."""
        self._waiting = self._waiting.lstrip()
        if not self._waiting and not self._is_over:
            return False
        if self._waiting.startswith("{"):
            self._expect_object(self._tagged)
        else:
            self._object = ""
            self._state = self._rubbish
        return True

    def _tagged(self) -> bool:
        """In the object after an opening tag."""
        if not self._has_object():
            return False
        self._state = self._end_of_tag
        return True

    def _end_of_tag(self) -> bool:
        """After that object: the tag is closed, or forgotten, or there is more than belongs here."""
        rest = self._waiting.lstrip()
        if not self._is_over and (_CLOSE_TAG.startswith(rest) or _OPEN_TAG.startswith(rest)) and rest not in _TAGS:
            return False
        if rest and not rest.startswith(_TAGS):
            self._state = self._rubbish
            return True
        self._call_object()
        self._waiting = rest.removeprefix(_CLOSE_TAG)
        self._state = self._after
        return True

    def _rubbish(self) -> bool:
        """In a tag that holds something other than one object; up to its end, nothing of it is for the user."""
        before, closing, rest = self._waiting.partition(_CLOSE_TAG)
        if not closing and not self._is_over:
            return False
        self._fail(f"between {_OPEN_TAG} and {_CLOSE_TAG} there must be one JSON object", self._object + before)
        self._waiting, self._state = rest, self._after
        return True

    def _after(self) -> bool:
        """After a call; if a fence was opened before it, the end of that is dropped."""
        rest = self._waiting.lstrip()
        if self._fence and not self._is_over and len(rest) < len(_FENCE) and _FENCE.startswith(rest):
            return False
        if self._fence and _FENCE.startswith(rest[: len(_FENCE)]):
            self._waiting = rest[len(_FENCE) :]
        self._fence = ""
        self._state = self._prose
        return True

    def _call_object(self) -> None:
        raw = self._object
        self._call(lambda: json_call(raw, self._name_key), raw)
