"""Which files a tool server may see: those of Python and its packages, the system's libraries, and the workspace."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.agent.tool_server.landlock import EXECUTE, READ, READ_FILE, WORK, WRITE_FILE
from workers.agent.tool_server.mounts import Place

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
_PACKAGE = str(Path(__file__).parent)
"""Cells are started by a program in it."""
_READ_DEVICES = ("/dev/urandom", "/dev/zero")
_NULL = "/dev/null"
_MAPPED = Path("/proc/self/maps")


@dataclass(frozen=True)
class Places:
    """The files that a tool server needs; found before it enters a wall, since ``/proc`` is not visible behind them."""

    readable: tuple[str, ...]
    programs: tuple[str, ...]

    def visible(self, workspace: str) -> list[Place]:
        """All that stays in the file system."""
        return [
            *map(Place, self.readable), *map(Place, self.programs),
            *(Place(path, is_device=True) for path in _READ_DEVICES),
            Place(_NULL, is_writable=True, is_device=True), Place(workspace, is_writable=True),
        ]  # fmt: skip

    def rights(self, workspace: int) -> list[tuple[str | int, int]]:
        """What may be done with them, for Landlock; ``workspace`` is an open descriptor.

        Only the interpreter can be run: cells are started with it.
        """
        return [
            *((path, READ) for path in self.readable), *((path, EXECUTE | READ_FILE) for path in self.programs),
            *((path, READ_FILE) for path in _READ_DEVICES), (_NULL, READ_FILE | WRITE_FILE), (workspace, WORK),
        ]  # fmt: skip

    def can_be_read(self) -> bool:
        """Whether the user of this process can read all of them."""
        return all(_can_read(path) for path in (*self.readable, *self.programs))


def find_places() -> Places:
    """The places on this machine."""
    mapped = _mapped()
    libraries = sorted(path for path in mapped if ".so" in os.path.basename(path) and os.path.exists(path))
    loaders = sorted(path for path in mapped if os.path.basename(path).startswith(("ld-linux", "ld-musl", "ld.so")))
    return Places(
        tuple(dict.fromkeys((*_of_python(), *_LIBRARIES, *libraries))),
        tuple(dict.fromkeys((sys.executable, os.path.realpath(sys.executable), *loaders))),
    )


def _of_python() -> Iterator[str]:
    paths = sysconfig.get_paths()
    yield from (paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    yield os.path.join(sys.prefix, "pyvenv.cfg")
    yield _PACKAGE


def _mapped() -> set[str]:
    """The files whose code runs in this process."""
    try:
        lines = _MAPPED.read_text().splitlines()
    except OSError:
        return set()
    return {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6 and fields[5].startswith("/")}


def _can_read(path: str) -> bool:
    try:
        if os.path.isdir(path):
            os.scandir(path).close()
        else:
            os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError:  # a path that this system has not; one that may not be reached is another error
        return True
    except OSError:
        return False
    return True
