"""What the tools for files answer."""

from __future__ import annotations

import json
from typing import Any

from models.errors import quoted
from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.folder import Folder

LISTED_MAX = 60
ANSWERED_MAX_BYTES = 12_000
"""Of a text or a list as JSON, in one answer."""
WRITTEN_MAX_CHARS = 200_000
_SNIFFED_BYTES = 64
_MEDIA_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"), (b"II*\0", "image/tiff"), (b"MM\0*", "image/tiff"), (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
)  # fmt: skip
_TEXTS = {".md": "text/markdown", ".json": "application/json", ".csv": "text/csv", ".html": "text/html"}


def list_files(folder: Folder, below: str, start: int) -> dict[str, Any]:
    """The files below a folder of the workspace, from the one at ``start`` on."""
    prefix = f"{below.strip('/')}/" if below.strip("/") else ""
    entries = [entry for entry in folder.entries() if entry.name.startswith(prefix)]
    shown = [
        {"name": each.name, "size_bytes": each.size_bytes, "media_type": media_type(folder, each.name)}
        for each in entries[start : start + LISTED_MAX]
    ]
    while _json_bytes(shown) > ANSWERED_MAX_BYTES:
        shown.pop()
    answer: dict[str, Any] = {"files": shown, "total": len(entries)}
    if start + len(shown) < len(entries):
        answer["next_start"] = start + len(shown)
    return answer


def media_type(folder: Folder, name: str) -> str:
    """What the first bytes of a file say that it is."""
    head = folder.read(name, _SNIFFED_BYTES)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:12] == b"ftypavif":
        return "image/avif"
    found = next((kind for magic, kind in _MEDIA_TYPES if head.startswith(magic)), None)
    if found is not None:
        return found
    if b"\0" in head:
        return "application/octet-stream"
    return next((kind for ending, kind in _TEXTS.items() if name.lower().endswith(ending)), "text/plain")


def read_text(folder: Folder, name: str, start: int) -> dict[str, Any]:
    """A part of a text file, from the character at ``start`` on.

    Raises:
        Refused: the file is not there, or it is no text.
    """
    try:
        text = folder.read(name).decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{quoted(name)} is no text in UTF-8") from error
    if "\0" in text:
        raise Refused(f"{quoted(name)} is no text")
    part = text[start : start + ANSWERED_MAX_BYTES]
    while _json_bytes(part) > ANSWERED_MAX_BYTES:
        part = part[: len(part) * 3 // 4]
    answer: dict[str, Any] = {"text": part, "chars": len(text)}
    if start + len(part) < len(text):
        answer["next_start"] = start + len(part)
    return answer


def write_text(folder: Folder, name: str, text: str) -> dict[str, Any]:
    """Write a text file."""
    data = text.encode(errors="replace")
    folder.write(name, data)
    return {"saved": name, "bytes": len(data)}


def copy_file(folder: Folder, name: str, save_as: str) -> dict[str, Any]:
    """Copy a file."""
    data = folder.read(name)
    folder.write(save_as, data)
    return {"saved": save_as, "bytes": len(data)}


def delete_file(folder: Folder, name: str) -> dict[str, Any]:
    """Remove a file."""
    folder.delete(name)
    return {"deleted": name}


def _json_bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
