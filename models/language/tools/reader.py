"""Incremental parsers of answers: text is emitted at once, except where a call may begin."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from models.language.client import Delta
from models.language.tools.types import BadCall, Event, Text, ToolCall, ToolCallError

ANSWER_MAX_CHARS = 20_000
"""The length limit of an answer, including calls."""
RAW_MAX_CHARS = 4000
"""How much of an invalid call is kept."""


class Reader:
    """A state machine that parses one answer; the result does not depend on how the answer is divided into pieces.

    Each state consumes text from the front of the buffer, and returns whether it made progress; otherwise it needs more
    text. After ``_is_over`` is set, no more text will come.
    """

    def __init__(self, id_prefix: str) -> None:
        self._buffer = ""
        self._is_over = False
        self._state: Callable[[], bool] = self._text
        self._events: list[Event] = []
        self._chars_left = ANSWER_MAX_CHARS
        self._id_prefix = id_prefix
        self._calls = 0
        self._space = ""
        self._has_text = False

    def feed(self, delta: Delta) -> list[Event]:
        """The events that another piece of the answer completes."""
        piece = self._bounded(delta.text)
        self._buffer += piece
        self._run()
        if len(piece) < len(delta.text):
            self._stop_reading()
        return self._take_events()

    def finish(self) -> list[Event]:
        """The remaining events at the end of the answer."""
        self._is_over = True
        self._run()
        return self._take_events()

    def _text(self) -> bool:
        """The initial state: text for the user."""
        raise NotImplementedError

    def _ignore_rest(self) -> bool:
        """The state that discards the rest of the answer."""
        self._buffer = ""
        return False

    def _run(self) -> None:
        while self._state():
            pass

    def _bounded(self, piece: str) -> str:
        piece = piece[: self._chars_left]
        self._chars_left -= len(piece)
        return piece

    def _stop_reading(self) -> None:
        if self._state != self._ignore_rest:
            self._report_bad_call(f"the answer is longer than {ANSWER_MAX_CHARS} characters", self._buffer)
            self._state = self._ignore_rest
            self._run()

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _emit_text(self, piece: str) -> None:
        """Emit text without leading whitespace; trailing whitespace is held back until more text follows."""
        if not self._has_text:
            piece = piece.lstrip()
        words = piece.rstrip()
        if words:
            self._events.append(Text(text=self._space + words))
            self._space, self._has_text = "", True
        self._space += piece[len(words) :]

    def _call(self, read: Callable[[], tuple[str, dict[str, Any]]], raw: str, call_id: str | None = None) -> None:
        """Emit the call that ``read`` parses, or a :class:`BadCall` with its error."""
        try:
            name, arguments = read()
        except ToolCallError as error:
            self._report_bad_call(str(error), raw)
            return
        self._end_paragraph()
        self._calls += 1
        own_id = f"{self._id_prefix}-{self._calls}"
        self._events.append(ToolCall(id=call_id or own_id, name=name, arguments=arguments))

    def _report_bad_call(self, reason: str, raw: str) -> None:
        self._end_paragraph()
        self._events.append(BadCall(reason=reason, raw=raw[:RAW_MAX_CHARS]))

    def _end_paragraph(self) -> None:
        self._space, self._has_text = "", False


class MarkedReader(Reader):
    """A parser of text with markers that begin calls or reasoning; reasoning is dropped."""

    markers = re.compile("<think>")
    """The markers."""
    partial_marker = re.compile(r"<[a-z]{0,5}\Z")
    """A possible beginning of a marker at the end of the text."""

    def _text(self) -> bool:
        mark = self.markers.search(self._buffer)
        if mark is None:
            partial_match = None if self._is_over else self.partial_marker.search(self._buffer)
            self._emit_text_before(partial_match.start() if partial_match else len(self._buffer))
            return False
        self._emit_text_before(mark.start())
        self._buffer = self._buffer[len(mark[0]) :]
        self._open(mark[0])
        return True

    def _open(self, mark: str) -> None:
        """Enter the state that the marker ``mark`` begins."""
        self._state = self._reasoning

    def _reasoning(self) -> bool:
        _, closing, rest = self._buffer.partition("</think>")
        if closing:
            self._buffer, self._state = rest, self._text
            return True
        self._buffer = self._buffer[-len("</think>") :]
        return False

    def _emit_text_before(self, position: int) -> None:
        self._emit_text(self._buffer[:position])
        self._buffer = self._buffer[position:]
