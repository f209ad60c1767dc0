"""``python -m service.llm.guard COMMAND...``: a server of several processes, of which nothing outlives the first.

vLLM's engine goes on if its API server is killed, with all its memory; and killing the whole group at once kills the
helper too that removes their shared memory, where they have some. This process ends them in the right order.
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
"""How long the server may take to stop by itself."""
_LEFTOVERS_S = 1.0
_LOOK_S = 0.1
_CLEANER = b"multiprocessing.resource_tracker"


def main(command: Sequence[str]) -> int:
    """Run ``command`` until it ends or we are asked to; gives the exit code a shell would.

    Whatever else is in our process group is killed then.
    """
    if os.getpgrp() != os.getpid():
        os.setpgrp()  # what is killed in the end must be ours alone
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    server = subprocess.Popen(command, preexec_fn=die_with_parent)
    _wait(lambda: bool(asked) or server.poll() is not None)
    if server.poll() is None:
        server.terminate()
        _wait(lambda: server.poll() is not None, STOP_S)
    _end_group()
    code = server.wait()
    return code if code >= 0 else 128 - code


def _end_group() -> None:
    """Kill all others of our group, then give whoever cleans up after them the time to."""
    for pid in _others():
        if _CLEANER not in _read(pid, "cmdline"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    _wait(lambda: not _others(), _LEFTOVERS_S)


def _others() -> list[int]:
    """The group's other processes; those that are dead and not yet waited for do not count."""
    group = str(os.getpgrp()).encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            state, _, its_group = (_read(int(folder.name), "stat").rpartition(b") ")[2].split() + [b""] * 3)[:3]
            if its_group == group and state != b"Z":
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
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
