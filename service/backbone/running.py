"""The file in the data folder that says which ``photogram up`` runs with it, so that other commands find the server.

The process locks the file (``flock``) for as long as it runs, and removes it at its end. A file that nobody has locked
was left by a process that was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

_NAME = "server.json"
_TRIES, _PAUSE_S = 10, 0.02
"""A reader holds the lock for a moment."""


@dataclass(frozen=True)
class RunningServer:
    """A ``photogram up``."""

    pid: int
    url: str
    redis_url: str | None
    """The embedded Valkey; ``None`` if ``REDIS_URL`` names another one, whose password must not be on disk."""


@contextmanager
def announced(data: Path, server: RunningServer) -> Iterator[None]:
    """Let other commands find ``server``; if another one with the same Redis and folder is noted, that one stays."""
    path = data / _NAME
    file = _locked(path)
    if file is None:
        yield
        return
    with file:
        file.truncate(0)
        file.write(json.dumps(asdict(server)))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def running_server(data: Path) -> RunningServer | None:
    """The server that runs with this data folder, if one does."""
    try:
        with (data / _NAME).open(encoding="utf-8") as file:
            if _lock(file, fcntl.LOCK_SH):
                return None
            return RunningServer(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def _locked(path: Path) -> IO[str] | None:
    """The file, opened and locked; ``None`` if another process has locked it."""
    for _ in range(_TRIES):
        file = path.open("a", encoding="utf-8")
        if _lock(file, fcntl.LOCK_EX) and path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()
        time.sleep(_PAUSE_S)
    return None


def _lock(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
