"""A folder of exported graphs: each is made once, whole or not at all, and made again if it is damaged."""

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
ABANDONED_S = 86400.0
"""An unfinished entry this old belongs to a process that died."""


class GraphCache:
    """Entries by key, each a folder of files and a manifest of their checksums.

    Any number of processes may share the folder: an entry appears by one rename, and of several that make the same
    one at the same time the first wins. It may be deleted whenever no service runs.

    Args:
        folder: made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def obtain(self, key: str, build: Callable[[Path], None]) -> Path:
        """The intact entry of that key; if there is none, ``build`` is asked to write its files into a folder.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
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
        """Remove a damaged entry, out of everybody's sight first."""
        if place.exists():
            log.warning("the exported graph %s is damaged and is made again", place)
            grave = self._partial(place)
            _move(place, grave / place.name)
            shutil.rmtree(grave, ignore_errors=True)

    def _partial(self, place: Path) -> Path:
        """A new folder beside ``place``, of no other process."""
        folder = place.with_name(f"{place.name}.{uuid.uuid4().hex}{PARTIAL}")
        folder.mkdir()
        return folder

    def _sweep(self) -> None:
        """Remove what processes that died have left."""
        for each in self._folder.glob(f"*{PARTIAL}"):
            if time.time() - each.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(each, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    """Rename, unless another process was faster."""
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
    """The SHA-256 of each file but the manifest, by its name."""
    sums = {}
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST:
            with path.open("rb") as file:
                sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums
