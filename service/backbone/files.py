"""Atomic writing of files, and removal of old ones."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path


def write_whole(place: Path, data: bytes) -> None:
    """Write ``data`` to ``place`` atomically, by a rename; its folder is made if it does not exist."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=place.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o644)  # mkstemp's 0600 would lock out a process of another user
            file.write(data)
        os.replace(partial, place)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def remove_old(folder: Path, ttl_s: float) -> int:
    """Remove files in the subfolders of ``folder`` that are older than ``ttl_s`` by their mtime; returns how many."""
    oldest, removed = time.time() - ttl_s, 0
    for path in folder.glob("*/*"):
        with suppress(FileNotFoundError):  # another gateway may sweep too
            if path.stat().st_mtime < oldest:
                path.unlink()
                removed += 1
    return removed
