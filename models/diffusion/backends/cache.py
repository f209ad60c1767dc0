"""A cache folder of exported graphs: entries are written atomically, verified by checksum, and rebuilt if damaged."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
PARTIAL = ".partial"
STALE_S = 86400.0
"""An unfinished entry of this age was left by a process that died."""


class GraphCache:
    """Entries by key; each is a folder of files with a manifest of their checksums.

    Processes may share the folder: an entry is built in a temporary folder and published by one rename. If several
    processes build the same entry, the first one wins. The folder may be deleted while no service runs.

    Args:
        folder: created on first use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def obtain(self, key: str, build: Callable[[Path], None]) -> Path:
        """The folder of the intact entry with ``key``; if there is none, ``build`` writes its files into a new folder.

        Raises:
            OSError: the disk is full, or the folder is not writable.
            Exception: whatever ``build`` raises.
        """
        place = self._folder / key
        if not _is_intact(place):
            self._discard(place)
            self._make(place, build)
        return place

    def _make(self, place: Path, build: Callable[[Path], None]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        partial = self._partial(place)
        try:
            build(partial)
            (partial / MANIFEST).write_text(json.dumps(_checksums(partial)), encoding="utf-8")
            _move(partial, place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _discard(self, place: Path) -> None:
        """Remove a damaged entry; it is renamed first, so that no process sees half of it."""
        if place.exists():
            log.warning("the exported graph %s is damaged and is rebuilt", place)
            discarded = self._partial(place)
            _move(place, discarded / place.name)
            shutil.rmtree(discarded, ignore_errors=True)

    def _partial(self, place: Path) -> Path:
        """A new temporary folder beside ``place``, for this process only."""
        folder = place.with_name(f"{place.name}.{uuid.uuid4().hex}{PARTIAL}")
        folder.mkdir()
        return folder

    def _sweep(self) -> None:
        """Remove unfinished entries of processes that died."""
        for each in self._folder.glob(f"*{PARTIAL}"):
            if time.time() - each.stat().st_mtime > STALE_S:
                shutil.rmtree(each, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    """Rename; if another process has already created ``target``, do nothing."""
    try:
        source.rename(target)
    except OSError:
        if source.exists() and not target.exists():
            raise


def _is_intact(place: Path) -> bool:
    try:
        recorded = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        return bool(recorded == _checksums(place))
    except (OSError, ValueError):
        return False


def _checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file by name, without the manifest."""
    sums = {}
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST:
            with path.open("rb") as file:
                sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums
