"""A server of several processes, of which nothing is left: no process, and no shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
WORKER = """
import signal, sys, time
from multiprocessing.shared_memory import SharedMemory
signal.signal(signal.SIGTERM, signal.SIG_IGN)
memory = SharedMemory(create=True, size=4096)
print(memory.name, flush=True)
time.sleep(60)
"""
SERVER = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, {handler})
subprocess.Popen([sys.executable, "-c", {worker!r}])
time.sleep(60)
"""
POLITE, STUBBORN = "lambda *_: sys.exit(7)", "signal.SIG_IGN"


class Guarded:
    """A guard in a group of its own, as a supervisor starts it, with a server whose worker holds shared memory."""

    def __init__(self, handler: str, *before: str) -> None:
        code = SERVER.format(handler=handler, worker=WORKER)
        command = [*before, sys.executable, "-m", "service.llm.guard", sys.executable, "-c", code]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stdout is not None
        self.memory = Path("/dev/shm") / self.process.stdout.readline().strip()
        assert self.memory.is_file()
        self.family = psutil.Process(self.process.pid).children(recursive=True)
        assert len(self.family) >= 3  # server, worker, and the helper that removes shared memory

    def nothing_is_left(self) -> bool:
        return psutil.wait_procs(self.family, timeout=10)[1] == [] and not self.memory.exists()

    def close(self) -> None:
        for process in (self.process, *self.family):
            if process.is_running() if isinstance(process, psutil.Process) else process.poll() is None:
                process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def guard() -> Iterator[Callable[..., Guarded]]:
    made: list[Guarded] = []

    def make(*arguments: str) -> Guarded:
        made.append(Guarded(*arguments))
        return made[-1]

    yield make
    for guarded in made:
        guarded.close()


def test_a_server_that_stops_when_asked_takes_its_worker_along(guard: Callable[..., Guarded]) -> None:
    guarded = guard(POLITE)
    guarded.process.terminate()
    assert guarded.process.wait(20) == 7
    assert guarded.nothing_is_left()


def test_a_server_that_does_not_stop_is_killed_after_the_time_limit(guard: Callable[..., Guarded]) -> None:
    guarded = guard(STUBBORN)
    began_at = time.monotonic()
    guarded.process.terminate()
    assert guarded.process.wait(20) == 128 + signal.SIGKILL and time.monotonic() - began_at > 4
    assert guarded.nothing_is_left()


def test_a_server_that_is_killed_leaves_no_worker(guard: Callable[..., Guarded]) -> None:
    guarded = guard(STUBBORN)
    psutil.Process(guarded.process.pid).children()[0].kill()
    assert guarded.process.wait(20) == 128 + signal.SIGKILL
    assert guarded.nothing_is_left()


def test_a_command_that_ends_gives_its_exit_code() -> None:
    command = [sys.executable, "-m", "service.llm.guard", sys.executable, "-c", "raise SystemExit(3)"]
    assert subprocess.run(command, cwd=ROOT, start_new_session=True, timeout=30, check=False).returncode == 3


def test_a_killed_guard_still_has_its_server_asked_to_stop(guard: Callable[..., Guarded]) -> None:
    guarded = guard(POLITE)
    server, *_ = psutil.Process(guarded.process.pid).children()
    guarded.process.kill()
    assert psutil.wait_procs([server], timeout=10)[1] == []
    os.killpg(guarded.process.pid, signal.SIGKILL)  # as the supervisor does
    assert psutil.wait_procs(guarded.family, timeout=10)[1] == []
    guarded.memory.unlink(missing_ok=True)
