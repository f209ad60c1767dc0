"""Bytes over HTTP as a file server gives them: ranges, ETags, and on demand slow or cut off."""

from __future__ import annotations

import hashlib
import re
import time
from http.server import BaseHTTPRequestHandler

_CHUNK_BYTES = 1 << 12


class Faults:
    """What goes wrong with the transfer of large files, for all of them; a test changes it at any time."""

    def __init__(self) -> None:
        self.cut_after_bytes: int | None = None
        """Each answer ends after so many bytes of its body."""
        self.pause_s = 0.0
        """Between two chunks of 4 KiB."""
        self.ignores_ranges = False


def send_bytes(
    handler: BaseHTTPRequestHandler,
    content: bytes,
    headers: dict[str, str],
    faults: Faults | None = None,
    *,
    has_body: bool = True,
) -> None:
    """Answer with ``content``, or with the part of it that the request asks for."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    start, end = 0, len(content)
    if asked is not None and not (faults is not None and faults.ignores_ranges):
        start, end = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else end, end)
        if start >= len(content):
            handler.send_response(416)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
    else:
        handler.send_response(200)
    for name, value in {"Accept-Ranges": "bytes", "Content-Length": str(end - start), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if has_body:
        _send(handler, content[start:end], faults or Faults())


def _send(handler: BaseHTTPRequestHandler, body: bytes, faults: Faults) -> None:
    for at in range(0, len(body), _CHUNK_BYTES):
        left = _CHUNK_BYTES if faults.cut_after_bytes is None else faults.cut_after_bytes - at
        handler.wfile.write(body[at : at + min(left, _CHUNK_BYTES)])
        if left < _CHUNK_BYTES:
            handler.close_connection = True
            return
        time.sleep(faults.pause_s)


def sha256(content: bytes) -> str:
    """The checksum in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def git_id(content: bytes) -> str:
    """The id that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
