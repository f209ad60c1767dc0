"""Responses with stored files."""

from __future__ import annotations

import re

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

_RANGE = b"range"
_SPECIFIER = re.compile(rb"(\d{1,18})-(\d{0,18})|-\d{1,18}")
"""A number with more digits is beyond any file, and Python refuses to read one with thousands."""


class StoredFile(FileResponse):
    """A file, or the parts of it that ``Range`` asks for; a malformed header is ignored (RFC 9110, section 14.2)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != _RANGE or is_range(value)]
        await super().__call__({**scope, "headers": headers}, receive, send)


def is_range(value: bytes) -> bool:
    """Whether ``value`` is a valid ``Range`` header in bytes."""
    unit, _, specifiers = value.partition(b"=")
    return unit.strip().lower() == b"bytes" and all(_is_specifier(each.strip()) for each in specifiers.split(b","))


def _is_specifier(text: bytes) -> bool:
    found = _SPECIFIER.fullmatch(text)
    if found is None:
        return False
    first, last = found.groups()
    return not last or int(first) <= int(last)
