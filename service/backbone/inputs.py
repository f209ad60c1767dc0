"""The input store: uploaded images as files that are named by their SHA-256."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from service.backbone.files import has_contents, remove_old, remove_partial, replace_file, storing

_SHA256 = re.compile(r"[0-9a-f]{64}")


class InputStore:
    """Files below one folder, spread over 256 subfolders by the first two letters of their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, data: bytes) -> str:
        """Store ``data`` and return its SHA-256; an upload that is stored already gets a new mtime instead.

        A file of this name that holds something else, for example after a failure of the disk, is replaced.

        Raises:
            StorageUnavailable: the disk is full, or the folder cannot be written.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        if not (has_contents(self._place(sha256), data) and self.touch(sha256)):
            replace_file(self._place(sha256), data)
        return sha256

    def touch(self, sha256: str) -> bool:
        """Set the file's mtime to now, which starts its time to live again; ``False`` if there is no such file.

        Raises:
            StorageUnavailable: the folder cannot be written.
        """
        path = self.path(sha256)
        if path is None:
            return False
        with storing(self._folder), suppress(FileNotFoundError):  # it may have been swept this moment
            os.utime(path)
            return True
        return False

    def path(self, sha256: str) -> Path | None:
        """The path of the file with that SHA-256, or ``None`` if there is none."""
        if not _SHA256.fullmatch(sha256):
            return None
        path = self._place(sha256)
        return path if path.is_file() else None

    def sweep(self, ttl_s: float) -> int:
        """Remove the files that were not used for ``ttl_s``; returns how many."""
        return remove_old(self._folder, ttl_s)

    def remove_partial(self, older_than_s: float) -> int:
        """Remove what was never completed; returns how many files that were."""
        return remove_partial(self._folder, older_than_s)

    def _place(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256
