"""Whether results and uploads can be stored now: free space above a watermark, and folders that can be written."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from models.errors import StorageUnavailable
from service.backbone.files import PARTIAL, storing

log = logging.getLogger(__name__)

CACHED_S = 2.0
"""How long the outcome of a check holds."""
_DEFAULT_FREE_BYTES = 512 << 20
_DEFAULT_FREE_SHARE = 0.02
_HYSTERESIS = 1.25
"""Once there was too little space, so many times the watermark must be free again."""
_PROBE_BYTES = 4 << 10
_LARGE_PROBE_BYTES = 1 << 20
"""The size of the file that is written to see whether a folder is writable, also after a file did not fit."""
_MIB = 1 << 20


class StorageMonitor:
    """Checks folders by writing a small file into each; safe to use from several threads.

    All methods may block, except while :attr:`is_checked`.

    Args:
        folders: those that this process or a worker writes into; they need not exist.
        min_free_bytes: the watermark; 0 is none, ``None`` is 512 MiB, or 2 % of a disk that is smaller than 25 GiB.
    """

    def __init__(self, folders: Sequence[Path], min_free_bytes: int | None = None) -> None:
        self._folders, self._min_free_bytes = folders, min_free_bytes
        self._lock = threading.Lock()
        self._checked_at = float("-inf")
        self._write_problem: str | None = None
        self._space_problem: str | None = None
        self._probe_bytes = _PROBE_BYTES

    @property
    def is_checked(self) -> bool:
        """Whether the outcome of the last check holds, so that nothing must be looked at now."""
        return time.monotonic() - self._checked_at < self._valid_s

    @property
    def _valid_s(self) -> float:
        """How long the outcome of the last check holds."""
        return CACHED_S

    def require_room(self) -> None:
        """Raise :class:`StorageUnavailable` if nothing can be stored, or less space is free than the watermark."""
        problem = self.problem()
        if problem is not None:
            raise StorageUnavailable(problem)

    def problem(self) -> str | None:
        """Why no new jobs and uploads may be accepted, or ``None``."""
        self._check_again()
        return self._write_problem or self._space_problem

    def write_problem(self) -> str | None:
        """Why nothing can be written at all, or ``None``; space below the watermark may be used for results."""
        self._check_again()
        return self._write_problem

    def note_failure(self) -> None:
        """Something could not be stored: from now on, only a larger file shows that there is space again."""
        with self._lock:
            self._probe_bytes, self._checked_at = _LARGE_PROBE_BYTES, float("-inf")

    def _check_again(self) -> None:
        with self._lock:
            if self.is_checked:
                return
            earlier = self._write_problem or self._space_problem
            self._write_problem = self._find_write_problem()
            self._space_problem = self._find_space_problem()
            self._checked_at = time.monotonic()
            self._log_change(earlier, self._write_problem or self._space_problem)

    def _log_change(self, earlier: str | None, now: str | None) -> None:
        if now is None and earlier is not None:
            log.warning("the storage can be used again")
        elif now is not None and earlier is None:
            log.error("the storage cannot be used now: %s", now)

    def _find_write_problem(self) -> str | None:
        problems = [problem for folder in self._folders if (problem := write_problem(folder, self._probe_bytes))]
        if not problems:
            self._probe_bytes = _PROBE_BYTES
        return "; ".join(problems) or None

    def _find_space_problem(self) -> str | None:
        was_short = self._space_problem is not None
        problems: dict[int, str] = {}
        for folder in self._folders:
            try:
                existing = _existing(folder)
                status, device = os.statvfs(existing), existing.stat().st_dev
            except OSError:
                continue  # the probe has found this
            free_bytes = status.f_bavail * status.f_frsize
            watermark = self._watermark(status.f_blocks * status.f_frsize)
            if free_bytes < watermark * (_HYSTERESIS if was_short else 1.0):
                problems.setdefault(device, _short_of_space(folder, free_bytes, watermark))
        return "; ".join(problems.values()) or None

    def _watermark(self, disk_bytes: int) -> int:
        if self._min_free_bytes is not None:
            return self._min_free_bytes
        return min(_DEFAULT_FREE_BYTES, int(disk_bytes * _DEFAULT_FREE_SHARE))


def _short_of_space(folder: Path, free_bytes: int, watermark: int) -> str:
    return (
        f"only {free_bytes / _MIB:.1f} MiB are free for the folder {folder.name!r}, and new jobs and uploads need"
        f" {watermark / _MIB:.1f} MiB"
    )


def write_problem(folder: Path, size_bytes: int = _LARGE_PROBE_BYTES) -> str | None:
    """Why a file of ``size_bytes`` cannot be written into ``folder``, or ``None``.

    A folder that does not exist yet is made where it is needed; its nearest parent is tried instead.
    """
    try:
        with (
            storing(folder),
            tempfile.NamedTemporaryFile(dir=_existing(folder), prefix=".probe-", suffix=PARTIAL) as probe,
        ):
            probe.write(bytes(size_bytes))
            probe.flush()
    except StorageUnavailable as error:
        return str(error)
    return None


def _existing(folder: Path) -> Path:
    return next((path for path in (folder, *folder.parents) if path.is_dir()), folder)
