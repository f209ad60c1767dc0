"""The stores of results: images and files on disk, named by random ids; a stored file never changes."""

from __future__ import annotations

import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

from service.backbone.files import PRIVATE, Modes, create_file, has_contents, remove_old, remove_partial

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _UuidStore:
    """Files in one folder, spread over 256 subfolders by the first two letters of their ids, which are UUIDs."""

    suffix: str

    def __init__(self, folder: Path, modes: Modes = PRIVATE) -> None:
        self._folder, self._modes = folder, modes

    def path(self, uuid: str) -> Path | None:
        """The path of the file, or ``None`` if there is no such file or ``uuid`` is not a UUID in lower case."""
        if not _UUID.fullmatch(uuid):
            return None
        path = self._place(uuid)
        return path if path.is_file() else None

    def add(self, data: bytes) -> str:
        """Store ``data`` under a new id of 122 random bits, and return the id; raises as :meth:`write`."""
        while not self.write(new_id := str(uuid.uuid4()), data):
            continue
        return new_id

    def write(self, uuid: str, data: bytes) -> bool:
        """Store ``data`` under ``uuid``; ``False`` if another file has this id, which stays as it is.

        Links to images may be cached for ever, so that the bytes behind an id must never change.

        Raises:
            StorageUnavailable: the disk is full, or the folder cannot be written.
        """
        place = self._place(uuid)
        return create_file(place, data, self._modes) or has_contents(place, data)

    def remove(self, uuid: str) -> None:
        """Remove the file, if there is one."""
        self._place(uuid).unlink(missing_ok=True)

    def sweep(self, ttl_s: float) -> int:
        """Remove all files that are older than ``ttl_s``; returns how many."""
        return remove_old(self._folder, ttl_s)

    def remove_partial(self, older_than_s: float) -> int:
        """Remove what was never completed; returns how many files that were."""
        return remove_partial(self._folder, older_than_s)

    def _place(self, uuid: str) -> Path:
        return self._folder / uuid[:2] / f"{uuid}{self.suffix}"


class ImageStore(_UuidStore):
    """Generated images as PNG files, and what they were converted to."""

    suffix = ".png"

    def converted(self, uuid: str, name: str) -> bytes | None:
        """The conversion ``name`` of the image, as in ``q95.jpg``, if it was kept."""
        try:
            return self._conversion(uuid, name).read_bytes()
        except FileNotFoundError:
            return None

    def keep_converted(self, uuid: str, name: str, data: bytes) -> bytes:
        """Keep a conversion of an image for as long as the image; returns what is stored.

        That is another file than ``data`` if somebody else kept one before. Raises as :meth:`write`.
        """
        place = self._conversion(uuid, name)
        create_file(place, data, self._modes)
        with suppress(FileNotFoundError):  # removed at this moment
            os.utime(place, (at := self._place(uuid).stat().st_mtime, at))  # they are swept together
        return self.converted(uuid, name) or data

    def remove(self, uuid: str) -> None:
        super().remove(uuid)
        for path in self._place(uuid).parent.glob(f"{uuid}.*"):
            path.unlink(missing_ok=True)

    def _conversion(self, uuid: str, name: str) -> Path:
        return self._place(uuid).with_name(f"{uuid}.{name}")


class FileStore(_UuidStore):
    """Files of any type that jobs made; the record of a job has their names and media types."""

    suffix = ""
