"""Free disk space, checked before a download begins, and what is wrong if a disk takes no more."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import DownloadFailed

_NOT_WRITABLE = "its files may not be written there"
DISK_PROBLEMS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: _NOT_WRITABLE,
    errno.EPERM: _NOT_WRITABLE,
    errno.EROFS: f"{_NOT_WRITABLE}: the disk is read-only",
}
"""Why files cannot be written, by the number of the error."""


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise :class:`DownloadFailed` if less than ``needed_bytes`` are free where ``folder`` is, or is to be made."""
    free_bytes = shutil.disk_usage(nearest_folder(folder)).free
    if free_bytes < needed_bytes:
        raise DownloadFailed(
            f"the download needs {in_words(needed_bytes)} ({needed_bytes} bytes) more, and only"
            f" {in_words(free_bytes)} ({free_bytes} bytes) are free on its disk",
            detail=f"the files go to {folder}",
        )


def nearest_folder(place: Path) -> Path:
    """``place``, or the folder that is there and in which it is to be made."""
    return next(path for path in (place, *place.absolute().parents) if path.is_dir())


@contextmanager
def failures_named(what: str) -> Iterator[None]:
    """Raise the block's failures to download or to write as :class:`DownloadFailed` that names ``what``."""
    try:
        yield
    except DownloadFailed as error:
        raise DownloadFailed(f"{what} cannot be downloaded: {error}", detail=error.detail) from error
    except OSError as error:
        reason = DISK_PROBLEMS.get(error.errno or 0, "its files cannot be written")
        place = None if error.filename is None else str(error.filename)
        raise DownloadFailed(f"{what} cannot be downloaded: {reason}", detail=place) from error


def in_words(size_bytes: float) -> str:
    """A number of bytes for people, as in ``5.1 GB``; decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes:.0f} B"
