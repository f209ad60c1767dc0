"""``python -m service.llm.guard COMMAND...``: runs a server, and ends all of its processes with it.

If vLLM's API server is killed, its engine process keeps running and keeps its memory. Killing the whole process group
at once would also kill the resource tracker, which removes their shared memory. The guard ends them in the right order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from service.supervisor import die_with_parent

STOP_S = 4.5
"""The time limit for a graceful stop of the server."""
_LEFTOVERS_S = 1.0
_POLL_S = 0.1
_RESOURCE_TRACKER = b"multiprocessing.resource_tracker"


def main(command: Sequence[str]) -> int:
    """Run ``command`` until it ends or a signal comes; returns the exit code as a shell reports it.

    Then kills all other processes of this process group.
    """
    if os.getpgrp() != os.getpid():
        os.setpgrp()  # the group that is killed must contain only this process and its children
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    server = subprocess.Popen(command, preexec_fn=die_with_parent)
    _wait(lambda: bool(signals) or server.poll() is not None)
    if server.poll() is None:
        server.terminate()
        _wait(lambda: server.poll() is not None, STOP_S)
    _end_group()
    code = server.wait()
    return code if code >= 0 else 128 - code


def _end_group() -> None:
    """Kill the other processes of the group, and give the resource tracker time to clean up."""
    for pid in _others():
        if _RESOURCE_TRACKER not in _read(pid, "cmdline"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    _wait(lambda: not _others(), _LEFTOVERS_S)


def _others() -> list[int]:
    """The other processes of the group, without zombies."""
    group = str(os.getpgrp()).encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            state, _, process_group = (_read(int(folder.name), "stat").rpartition(b") ")[2].split() + [b""] * 3)[:3]
            if process_group == group and state != b"Z":
                found.append(int(folder.name))
    return found


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has just ended
        return b""


def _wait(condition: Callable[[], bool], limit_s: float = float("inf")) -> None:
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
