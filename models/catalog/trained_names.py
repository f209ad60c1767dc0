"""The names under which LoRAs were trained, which trainers write into the header of the file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from models.catalog.weights import SAFETENSORS, read_header
from models.errors import ModelUnavailable


def trained_name(path: Path) -> str | None:
    """kohya-ss's ``ss_output_name`` in the file, by which A1111 can list a LoRA; ``None`` if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    is_safetensors = path.suffix.lower() == SAFETENSORS
    return _read(path, found.st_mtime_ns, found.st_size) if is_safetensors else None


@lru_cache(maxsize=4096)
def _read(path: Path, mtime_ns: int, size_bytes: int) -> str | None:
    try:
        metadata = read_header(path).get("__metadata__")
    except ModelUnavailable:
        return None
    name = metadata.get("ss_output_name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) and name.strip() else None
