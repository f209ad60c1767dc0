"""Working folders of jobs that are processes, removed at their end or, if the worker died, by the next one."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from models.downloads.space import DISK_PROBLEMS
from models.errors import JobFailure
from service.backbone.files import make_folder

_LOCK = ".lock"


@contextmanager
def disk_problems_as(failure: type[JobFailure], what: str) -> Iterator[None]:
    """Raise ``failure``, which says that ``what`` cannot be written and why, for what is wrong with the disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_PROBLEMS:
            raise
        raise failure(f"{what} cannot be written: {DISK_PROBLEMS[error.errno]}") from error


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new folder in ``parent``, which is removed with all that is in it; a lock in it says that it is in use.

    Raises:
        OSError: it cannot be made.
    """
    make_folder(parent)
    with (parent / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_abandoned(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        in_use = _locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        in_use.close()


def _locked(folder: Path) -> IO[str]:
    file = (folder / _LOCK).open("w")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.iterdir():
        if not folder.is_dir():
            continue
        try:
            _locked(folder).close()
        except OSError:  # a run uses it
            continue
        shutil.rmtree(folder, ignore_errors=True)
