"""The chunks of a PNG file, which are found without decoding pixels (W3C, Portable Network Graphics, section 5.3)."""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s")
_CRC_BYTES = 4


class Chunk(NamedTuple):
    """One chunk, without its length and its checksum."""

    name: bytes
    content: memoryview
    """What the file has of it; its bytes are not copied."""
    is_whole: bool
    """False for the last chunk of a file that is cut off within it."""


def chunks(data: bytes, names: Container[bytes] | None = None) -> Iterator[Chunk]:
    """The chunks of the PNG file ``data``, in order; only those called ``names``, if these are given."""
    view, place = memoryview(data), len(SIGNATURE)
    while place + _HEAD.size <= len(data):
        length, name = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        if names is None or name in names:
            content = view[place : place + length]
            yield Chunk(name, content, len(content) == length)
        place += length + _CRC_BYTES
