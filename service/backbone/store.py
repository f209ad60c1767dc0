"""The stores of results: images and files on disk, named by random ids."""

from __future__ import annotations

import re
from pathlib import Path

from service.backbone.files import remove_old, write_whole

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _UuidStore:
    """Files in one folder, spread over 256 subfolders by the first two letters of their ids, which are UUIDs."""

    suffix: str

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, uuid: str) -> Path | None:
        """The path of the file, or ``None`` if there is no such file or ``uuid`` is not a UUID in lower case."""
        if not _UUID.fullmatch(uuid):
            return None
        path = self._place(uuid)
        return path if path.is_file() else None

    def write(self, uuid: str, data: bytes) -> None:
        """Store ``data`` atomically; a file that an earlier try left under this id is replaced."""
        write_whole(self._place(uuid), data)

    def remove(self, uuid: str) -> None:
        """Remove the file, if there is one."""
        self._place(uuid).unlink(missing_ok=True)

    def sweep(self, ttl_s: float) -> int:
        """Remove all files that are older than ``ttl_s``; returns how many."""
        return remove_old(self._folder, ttl_s)

    def _place(self, uuid: str) -> Path:
        return self._folder / uuid[:2] / f"{uuid}{self.suffix}"


class ImageStore(_UuidStore):
    """Generated images as PNG files."""

    suffix = ".png"


class FileStore(_UuidStore):
    """Files of any type that jobs made; the record of a job has their names and media types."""

    suffix = ""
