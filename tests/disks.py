"""A disk that a test can fill: a small file system in memory, or a locked folder where mounting is not allowed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK = bytes(1 << 12)


class Disk:
    """A folder that is full between :meth:`fill` and :meth:`free`."""

    def __init__(self, folder: Path, is_mounted: bool) -> None:
        self.folder, self._is_mounted = folder, is_mounted
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """From now on, nothing can be written."""
        if not self._is_mounted:
            self._chmod(0o500)
            return
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while file.write(_CHUNK) == len(_CHUNK):
                    continue
            except OSError:
                return

    def free(self) -> None:
        """From now on, there is space again."""
        if self._is_mounted:
            self._ballast.unlink(missing_ok=True)
        else:
            self._chmod(0o700)

    def _chmod(self, mode: int) -> None:
        for path in (self.folder, *self.folder.glob("*")):
            if path.is_dir():
                path.chmod(mode)


@contextmanager
def small_disk(folder: Path, size: str = "8m") -> Iterator[Disk]:
    """Mount a file system of ``size`` at ``folder``; without the right to mount, the folder is locked instead."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)]
    is_mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    disk = Disk(folder, is_mounted)
    try:
        yield disk
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        else:
            disk.free()
