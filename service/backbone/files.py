"""Files that appear whole or not at all, and go when they are old."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path


def write_whole(place: Path, data: bytes) -> None:
    """Put ``data`` at ``place``, whose folder is made if need be; visible in one rename."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=place.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o644)  # mkstemp's 0600 would shut out a process that runs as another user
            file.write(data)
        os.replace(partial, place)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def remove_old(folder: Path, ttl_s: float) -> int:
    """Remove the files in the subfolders of ``folder`` that nobody wrote or touched for ``ttl_s``; gives how many."""
    oldest, removed = time.time() - ttl_s, 0
    for path in folder.glob("*/*"):
        with suppress(FileNotFoundError):  # another gateway may sweep too
            if path.stat().st_mtime < oldest:
                path.unlink()
                removed += 1
    return removed
