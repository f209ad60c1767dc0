"""Reads the text chunks of a PNG file, which say how its image was made (PNG specification, 11.3.4)."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT_MAX_BYTES = 1 << 20
"""Of all texts of a file together, after they are decompressed."""
MAX_CHUNKS = 10_000


def texts(data: bytes) -> dict[str, str]:
    """The text chunks of a PNG file by keyword; empty for other files, and without damaged or very long chunks."""
    found: dict[str, str] = {}
    left = TEXT_MAX_BYTES
    for name, body in islice(_chunks(data), MAX_CHUNKS):
        keyword, _, rest = body.partition(b"\0")
        try:
            text = _READERS[name](rest, left) if name in _READERS else None
        except (ValueError, zlib.error, IndexError):
            continue
        if text is not None and len(text) < left:
            found[keyword.decode("latin-1")] = text
            left -= len(text)
    return found


def request_in(found: dict[str, str]) -> dict[str, Any] | None:
    """The kind and parameters that Photogram wrote into the file; None if there are none."""
    try:
        request = json.loads(found["photogram"])
    except (KeyError, ValueError):
        return None
    return request if isinstance(request, dict) and isinstance(request.get("params"), dict) else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(SIGNATURE) if data.startswith(SIGNATURE) else len(data)
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        yield name, data[position + 8 : position + 8 + length]
        position += 12 + length


def _plain(body: bytes, max_bytes: int) -> str:
    return body[:max_bytes].decode("latin-1")


def _compressed(body: bytes, max_bytes: int) -> str:
    return _inflate(body[1:], max_bytes).decode("latin-1")


def _international(body: bytes, max_bytes: int) -> str:
    is_compressed = body[0]
    text = body[2:].split(b"\0", 2)[2]
    return (_inflate(text, max_bytes) if is_compressed else text[:max_bytes]).decode()


def _inflate(data: bytes, max_bytes: int) -> bytes:
    return zlib.decompressobj().decompress(data, max(1, max_bytes))


_READERS = {b"tEXt": _plain, b"zTXt": _compressed, b"iTXt": _international}
