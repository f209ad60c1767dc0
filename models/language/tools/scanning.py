"""Reads an answer as it comes, and holds back what may become a call; however it is cut, the outcome is the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from models.language.client import Delta
from models.language.tools.nouns import BadCall, Event, Text, ToolCall, ToolCallError

ANSWER_MAX_CHARS = 20_000
"""What is read of one answer, calls included."""
RAW_MAX_CHARS = 1000
"""What is kept of a call that cannot be read."""


class Reader:
    """Reads one answer: a machine whose state takes what it understands off the front of the waiting text.

    A state decides by the waiting text alone. It returns whether it got anywhere; if not, it waits for more. Once
    ``_is_over`` is set, nothing more will come.
    """

    def __init__(self, id_prefix: str) -> None:
        self._waiting = ""
        self._is_over = False
        self._state: Callable[[], bool] = self._prose
        self._events: list[Event] = []
        self._room_chars = ANSWER_MAX_CHARS
        self._id_prefix = id_prefix
        self._calls = 0
        self._space = ""
        self._has_spoken = False

    def feed(self, delta: Delta) -> list[Event]:
        """What is certain after another piece of the answer."""
        piece = self._bounded(delta.text)
        self._waiting += piece
        self._run()
        if len(piece) < len(delta.text):
            self._give_up()
        return self._taken()

    def finish(self) -> list[Event]:
        """What remains, now that the answer is over."""
        self._is_over = True
        self._run()
        return self._taken()

    def _prose(self) -> bool:
        """The state of text for the user, in which every answer begins."""
        raise NotImplementedError

    def _deaf(self) -> bool:
        """The state in which nothing counts any more."""
        self._waiting = ""
        return False

    def _run(self) -> None:
        while self._state():
            pass

    def _bounded(self, piece: str) -> str:
        piece = piece[: self._room_chars]
        self._room_chars -= len(piece)
        return piece

    def _give_up(self) -> None:
        if self._state != self._deaf:
            self._fail(f"the answer is longer than {ANSWER_MAX_CHARS} characters", self._waiting)
            self._state = self._deaf
            self._run()

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _say(self, piece: str) -> None:
        """Pass text on to the user, without the white space at its beginning and, until more comes, at its end."""
        if not self._has_spoken:
            piece = piece.lstrip()
        words = piece.rstrip()
        if words:
            self._events.append(Text(text=self._space + words))
            self._space, self._has_spoken = "", True
        self._space += piece[len(words) :]

    def _call(self, read: Callable[[], tuple[str, dict[str, Any]]], raw: str, call_id: str | None = None) -> None:
        """Add the call that ``read`` reads from ``raw``, or what is wrong with it."""
        try:
            name, arguments = read()
        except ToolCallError as error:
            self._fail(str(error), raw)
            return
        self._end_paragraph()
        self._calls += 1
        own_id = f"{self._id_prefix}-{self._calls}"
        self._events.append(ToolCall(id=call_id or own_id, name=name, arguments=arguments))

    def _fail(self, reason: str, raw: str) -> None:
        self._end_paragraph()
        self._events.append(BadCall(reason=reason, raw=raw[:RAW_MAX_CHARS]))

    def _end_paragraph(self) -> None:
        self._space, self._has_spoken = "", False


class MarkedReader(Reader):
    """Reads text in which marks begin what is not for the user; thoughts are dropped."""

    opening = re.compile("<think>")
    """The marks."""
    half_open = re.compile(r"<[a-z]{0,5}\Z")
    """Whatever may be the beginning of a mark, at the end of the text."""

    def _prose(self) -> bool:
        mark = self.opening.search(self._waiting)
        if mark is None:
            half = None if self._is_over else self.half_open.search(self._waiting)
            self._say_before(half.start() if half else len(self._waiting))
            return False
        self._say_before(mark.start())
        self._waiting = self._waiting[len(mark[0]) :]
        self._open(mark[0])
        return True

    def _open(self, mark: str) -> None:
        """Begin what ``mark`` announces."""
        self._state = self._thought

    def _thought(self) -> bool:
        _, closing, rest = self._waiting.partition("</think>")
        if closing:
            self._waiting, self._state = rest, self._prose
            return True
        self._waiting = self._waiting[-len("</think>") :]
        return False

    def _say_before(self, position: int) -> None:
        self._say(self._waiting[:position])
        self._waiting = self._waiting[position:]
