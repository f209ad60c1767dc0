"""The names under which LoRAs were trained, which trainers write into the header of the file."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

_HEADER_MAX_BYTES = 16 << 20
_LENGTH_BYTES = 8
"""A ``.safetensors`` file begins with the length of its header, a JSON object, as a little-endian number."""


def trained_name(path: Path) -> str | None:
    """kohya-ss's ``ss_output_name`` in the file, by which A1111 can list a LoRA; ``None`` if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    is_safetensors = path.suffix.lower() == ".safetensors"
    return _read(path, found.st_mtime_ns, found.st_size) if is_safetensors else None


@lru_cache(maxsize=4096)
def _read(path: Path, mtime_ns: int, size_bytes: int) -> str | None:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            header = json.loads(file.read(length)) if length <= min(size_bytes, _HEADER_MAX_BYTES) else {}
        name = header["__metadata__"]["ss_output_name"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return name if isinstance(name, str) and name.strip() else None
