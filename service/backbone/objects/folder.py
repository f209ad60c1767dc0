"""Objects as files below one folder of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from service.backbone.files import (
    PARTIAL,
    PRIVATE,
    Modes,
    create_file,
    has_contents,
    remove_partial,
    replace_file,
    storing,
)
from service.backbone.objects.protocol import StoredObject


@dataclass(frozen=True)
class FileObject(StoredObject):
    """A file."""

    path: Path

    def open(self) -> BinaryIO:
        """The file, open for reading."""
        return self.path.open("rb")

    def read(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()

    def link(self, expires_s: int) -> str | None:
        """None: the files of this machine have no URL."""
        return None


class FolderObjects:
    """Objects as files whose paths below ``folder`` are their names (:class:`~.protocol.ObjectStore`)."""

    age_error_s = 0.0

    def __init__(self, folder: Path, modes: Modes = PRIVATE) -> None:
        self._folder, self._modes = folder, modes

    @property
    def place(self) -> str:
        """The path of the folder."""
        return str(self._folder)

    def create(self, name: str, data: bytes) -> bool:
        """Write the file, unless there is one."""
        path = self._folder / name
        return create_file(path, data, self._modes) or has_contents(path, data)

    def put(self, name: str, data: bytes) -> None:
        """Write the file; if it holds ``data`` already, only its mtime is set."""
        path = self._folder / name
        if not (has_contents(path, data) and self.touch(name)):
            replace_file(path, data, self._modes)

    def find(self, name: str) -> FileObject | None:
        """The file of that name."""
        return _found(self._folder / name, name)

    def touch(self, name: str) -> bool:
        """Set the mtime of the file to now."""
        with storing(self._folder), suppress(FileNotFoundError):
            os.utime(self._folder / name)
            return True
        return False

    def remove(self, name: str) -> None:
        """Remove the file."""
        (self._folder / name).unlink(missing_ok=True)

    def list(self, after: str = "") -> Iterator[FileObject]:
        """The files of the subfolders, without those that are not complete."""
        for folder in _sorted_entries(self._folder):
            if folder >= after.partition("/")[0]:
                yield from self._list_folder(folder, after)

    def _list_folder(self, folder: str, after: str) -> Iterator[FileObject]:
        for entry in _sorted_entries(self._folder / folder):
            name = f"{folder}/{entry}"
            found = None if name <= after or entry.endswith(PARTIAL) else _found(self._folder / name, name)
            if found is not None:
                yield found

    def remove_partial(self, older_than_s: float) -> int:
        """Remove files that a killed process left incomplete."""
        return remove_partial(self._folder, older_than_s)


def _sorted_entries(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _found(path: Path, name: str) -> FileObject | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FileObject(name, status.st_size, status.st_mtime, path) if S_ISREG(status.st_mode) else None
