"""Strict parsing of JSON from outside, with limits that are checked before a value is made.

``json.loads`` makes an object for each value: 60 MiB of ``[[],[],...`` become several gigabytes, and nothing can
stop it on the way. A scan of the bytes counts what parsing would make, and costs less than parsing does.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

LONG_STRING_BYTES = 4096
"""A string of at least this length is an image in Base64, or a text that no field takes."""
_OUTSIDE_STRINGS = re.compile(rb"[\[\]{}]|[^\s,:\[\]{}]++")
"""A bracket, or a number, ``true``, ``false`` or ``null``."""
_REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_QUOTE, _BACKSLASH = b'"', b"\\"
_OPENING, _CLOSING = b"[{", b"]}"
_DIGITS_MAX = 4300
"""The most digits of a whole number that Python reads."""
_PIECE_BYTES = 1 << 18
"""A scan of this size is short enough for other threads to wait for."""


class NotStrictJson(ValueError):
    """The bytes are not strictly JSON, or have too many values; the message is the reason."""


class JsonTooLong(ValueError):
    """The document without its long strings has too many bytes."""


@dataclass(frozen=True, kw_only=True)
class JsonLimits:
    """How much one document may hold; the defaults are far above what clients of image servers send."""

    nodes: int = 20_000
    """Values and names of members."""
    depth: int = 100
    """Arrays and objects within each other."""
    short_bytes: int = 1 << 20
    """All bytes except those of strings of at least :data:`LONG_STRING_BYTES`."""
    backslashes: int = 1_250_000
    """Each escape makes the parser slow; an image in Base64 has some, for line ends and slashes."""


DEFAULT_LIMITS = JsonLimits()


class JsonGauge:
    """Counts the nodes, the depth and the short bytes of one document, whose bytes may come in pieces.

    The count of nodes is exact for valid JSON: each array, each object, each string (value or name), each number and
    each literal is one.
    """

    def __init__(self, limits: JsonLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self.nodes = 0
        self.short_bytes = 0
        self._depth = self._backslashes = 0
        self._is_in_string = self._is_escaped = self._is_in_literal = False
        self._string_bytes = 0

    def feed(self, piece: bytes) -> None:
        """Count the next bytes of the document.

        Raises:
            NotStrictJson: there are too many nodes or backslashes, or the nodes are nested too deeply.
            JsonTooLong: there are too many short bytes.
        """
        position = self._string(piece, 0) if self._is_in_string else 0
        while position < len(piece):
            quote = piece.find(_QUOTE, position)
            self._outside(piece, position, len(piece) if quote < 0 else quote)
            if quote < 0:
                return
            self._is_in_string, self._is_in_literal, self._string_bytes = True, False, 0
            self._count_node()
            position = self._string(piece, quote + 1)

    def _outside(self, piece: bytes, start: int, end: int) -> None:
        """Count ``piece[start:end]``, which lies outside of strings."""
        self._add_short(end - start)
        for token in _OUTSIDE_STRINGS.finditer(piece, start, end):
            first = piece[token.start()]
            if first in _OPENING:
                self._open()
            elif first in _CLOSING:
                self._close()
            elif token.start() > start or not self._is_in_literal:
                self._count_node()
        if end > start:
            last = piece[end - 1 : end]
            self._is_in_literal = last not in b"[]{},:" and not last.isspace()

    def _open(self) -> None:
        self._count_node()
        self._depth += 1
        if self._depth > self._limits.depth:
            raise NotStrictJson(f"it is nested too deeply: at most {self._limits.depth} levels are allowed")

    def _close(self) -> None:
        self._depth -= 1
        if self._depth < 0:
            raise NotStrictJson("a bracket closes an array or object that was not opened")

    def _count_node(self) -> None:
        self.nodes += 1
        if self.nodes > self._limits.nodes:
            raise NotStrictJson(f"it has too many values: at most {self._limits.nodes} values and names are allowed")

    def _add_short(self, count: int) -> None:
        self.short_bytes += count
        if self.short_bytes > self._limits.short_bytes:
            raise JsonTooLong(
                f"a JSON body may have at most {self._limits.short_bytes} bytes besides images, which are strings of "
                f"at least {LONG_STRING_BYTES} bytes"
            )

    def _string(self, piece: bytes, start: int) -> int:
        """Where the string that contains ``start`` ends, after its quote; the length of ``piece`` if it ends later."""
        stop = self._closing_quote(piece, start)
        end = len(piece) if stop < 0 else stop
        self._string_bytes += end - start
        if piece.find(_BACKSLASH, start, end) >= 0:
            self._add_backslashes(piece.count(_BACKSLASH, start, end))
        if stop < 0:
            return end
        self._is_in_string = False
        if self._string_bytes < LONG_STRING_BYTES:
            self._add_short(self._string_bytes + 2)
        return stop + 1

    def _closing_quote(self, piece: bytes, start: int) -> int:
        """Where the string ends; -1 if it does not end in ``piece``."""
        if self._is_escaped:  # the piece before ended between a backslash and the character that belongs to it
            start, self._is_escaped = start + 1, False
        quote = piece.find(_QUOTE, start)
        stop = len(piece) if quote < 0 else quote
        if stop <= start or piece[stop - 1 : stop] != _BACKSLASH:
            return quote
        rest = _REST_OF_STRING.match(piece, start)
        assert rest is not None
        if rest.end() < len(piece) and piece[rest.end() : rest.end() + 1] == _QUOTE:
            return rest.end()
        self._is_escaped = rest.end() < len(piece)  # the last byte is a backslash whose character comes later
        return -1

    def _add_backslashes(self, count: int) -> None:
        self._backslashes += count
        if self._backslashes > self._limits.backslashes:
            raise NotStrictJson(f"it has too many escapes: at most {self._limits.backslashes} backslashes are allowed")


def check_limits(document: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> None:
    """Raise :class:`NotStrictJson` or :class:`JsonTooLong` unless ``document`` is within ``limits``.

    A bound that takes a few counts of bytes is enough for almost all documents: each node but the first follows a
    bracket, a comma or a colon.
    """
    if len(document) <= min(limits.short_bytes, limits.backslashes):
        opening = document.count(b"[") + document.count(b"{")
        if opening <= limits.depth and opening + document.count(b",") + document.count(b":") < limits.nodes:
            return
    gauge = JsonGauge(limits)
    for start in range(0, len(document), _PIECE_BYTES):
        gauge.feed(document[start : start + _PIECE_BYTES])


def parse(document: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> Any:
    """The value in ``document``: JSON in UTF-8 with finite numbers, and no name twice in an object.

    A byte order mark is ignored, as RFC 8259 allows; editors of one system write it.

    Raises:
        NotStrictJson: the document is not that, or has too many values.
        JsonTooLong: the document without its long strings has too many bytes.
    """
    check_limits(document, limits)
    try:
        return json.loads(
            document.decode("utf-8-sig"), object_pairs_hook=_object, parse_int=_whole, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise NotStrictJson("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise NotStrictJson("it is not UTF-8") from error
    except ValueError as error:
        raise NotStrictJson(str(error)) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same name twice")
    return found


def _whole(digits: str) -> int:
    if len(digits.removeprefix("-")) > _DIGITS_MAX:
        raise ValueError(f"a number has more than {_DIGITS_MAX} digits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
