"""Files on disk: written atomically, readable for their owner alone, and removed when they are old.

A file appears under its name only when all of its bytes are on the disk: it is written under another name that ends in
``.partial``, synced, and then linked or renamed. The folder itself is not synced, so that a power failure may lose the
files of the last seconds, but never leaves half of a file under its name.
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from models.errors import StorageUnavailable

PARTIAL = ".partial"
"""The end of the names of files that are not complete yet."""
ABANDONED_S = 900.0
"""An incomplete file that was begun so long ago is not being written any more."""
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems without hard links answer."""


@dataclass(frozen=True)
class Modes:
    """The permissions of folders and files."""

    folder: int
    file: int


PRIVATE = Modes(0o700, 0o600)
GROUP_READABLE = Modes(0o750, 0o640)


def replace_file(place: Path, data: bytes, modes: Modes = PRIVATE) -> None:
    """Write ``data`` to ``place``, which may exist.

    Raises:
        StorageUnavailable: the disk is full, the folder cannot be written, or ``place`` is a device or a folder.
    """
    if place.exists() and not place.is_file():
        raise StorageUnavailable(f"{place} is no file that can be replaced")
    _write(place, data, modes, os.replace)


def create_file(place: Path, data: bytes, modes: Modes = PRIVATE) -> bool:
    """Write ``data`` to ``place`` unless that exists; ``False`` if it does. Raises as :func:`replace_file`."""
    try:
        _write(place, data, modes, _link)
    except FileExistsError:
        return False
    return True


def _write(place: Path, data: bytes, modes: Modes, publish: Callable[[str, Path], None]) -> None:
    with storing(place.parent):
        make_folder(place.parent, modes.folder)
        handle, partial = tempfile.mkstemp(dir=place.parent, suffix=PARTIAL)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, modes.file)
                file.write(data)
                file.flush()
                os.fsync(handle)
            publish(partial, place)
        finally:
            Path(partial).unlink(missing_ok=True)


def _link(partial: str, place: Path) -> None:
    try:
        os.link(partial, place)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE.file))
        os.replace(partial, place)


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Raise the block's :class:`OSError` as :class:`StorageUnavailable`, except that a file exists already."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StorageUnavailable(f"the folder {folder.name!r} cannot be written: {reason}") from error


def make_folder(folder: Path, mode: int = PRIVATE.folder) -> None:
    """Make ``folder`` and its parents with these permissions, whatever the umask; those that exist stay as they are."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    with suppress(FileExistsError):  # another thread or process may make it too
        folder.mkdir()
        folder.chmod(mode)


def has_contents(path: Path, data: bytes) -> bool:
    """Whether the file at ``path`` holds exactly ``data``."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def remove_old(folder: Path, ttl_s: float) -> int:
    """Remove files in the subfolders of ``folder`` that are older than ``ttl_s`` by their mtime; returns how many."""
    return _remove_old(folder.glob("*/*"), ttl_s)


def remove_partial(folder: Path, older_than_s: float) -> int:
    """Remove the incomplete files in ``folder`` and its subfolders that are so old; returns how many.

    A process that was killed while it wrote leaves them.
    """
    return _remove_old((path for glob in ("*", "*/*") for path in folder.glob(glob + PARTIAL)), older_than_s)


def _remove_old(paths: Iterator[Path], ttl_s: float) -> int:
    oldest, removed = time.time() - ttl_s, 0
    for path in paths:
        with suppress(FileNotFoundError):  # another gateway may sweep too
            if path.stat().st_mtime < oldest:
                path.unlink()
                removed += 1
    return removed
