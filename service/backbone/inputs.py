"""The input store: uploaded images as files that are named by their SHA-256."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from service.backbone.files import remove_old, write_whole

_SHA256 = re.compile(r"[0-9a-f]{64}")


class InputStore:
    """Files below one folder, spread over 256 subfolders by the first two letters of their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, data: bytes) -> str:
        """Store ``data`` and return its SHA-256; an upload that is stored already gets a new mtime instead."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.touch(sha256):
            write_whole(self._place(sha256), data)
        return sha256

    def touch(self, sha256: str) -> bool:
        """Set the file's mtime to now, which starts its time to live again; ``False`` if there is no such file."""
        if not _SHA256.fullmatch(sha256):
            return False
        try:
            os.utime(self._place(sha256))
        except FileNotFoundError:
            return False
        return True

    def path(self, sha256: str) -> Path | None:
        """The path of the file with that SHA-256, or ``None`` if there is none."""
        if not _SHA256.fullmatch(sha256):
            return None
        path = self._place(sha256)
        return path if path.is_file() else None

    def sweep(self, ttl_s: float) -> int:
        """Remove the files that were not used for ``ttl_s``; returns how many."""
        return remove_old(self._folder, ttl_s)

    def _place(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256
