"""Cells of Python: each is a process behind the walls of the server and some more, ended with all that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

from models.errors import PhotogramError
from workers.agent.tool_server.folder import Folder
from workers.agent.tool_server.settings import ToolSettings

OUTPUT_MAX_BYTES = 8_000
_PROGRAM = str(Path(__file__).with_name("cell.py"))
_ENVIRONMENT = {"LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_LOOKED_EVERY_S = 0.2
_CHUNK_BYTES = 1 << 16
_DRAINED_MAX = 32
"""Chunks; a pipe holds fewer."""
_REAP_S = 2.0


@dataclass(frozen=True)
class Finished:
    """A cell that has ended."""

    output: bytes
    """What it printed, or the start of that."""
    is_cut: bool
    how: str
    """``normally``, or why it ended otherwise."""
    removed: tuple[str, ...] = ()
    """Files that it wrote and that may not be there; some of them."""


def run_cell(code: str, settings: ToolSettings, folder: Folder, output_max_bytes: int = OUTPUT_MAX_BYTES) -> Finished:
    """Run ``code`` in the workspace, for at most ``settings.python_s`` seconds.

    If the workspace holds more than it may afterwards, what the cell wrote is removed.
    """
    before = folder.entries()
    order = {"code": code, "memory_bytes": settings.memory_bytes // 2, "cpu_s": settings.python_s + 1}
    with subprocess.Popen(
        [sys.executable, "-I", "-B", "-X", "utf8", _PROGRAM], env=_ENVIRONMENT, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order).encode())
            process.stdin.close()
        output = _Output(process, output_max_bytes)
        reason = output.follow(time.monotonic() + settings.python_s, folder)
        _end(process)
        output.drain()
    removed = folder.tidy()
    overfull = _overfull(folder)
    if overfull is not None:
        removed, reason = folder.tidy(kept=before), overfull
    return Finished(output.kept(), output.is_cut, reason or _how(process.returncode), tuple(removed[:10]))


class _Output:
    """What a process prints: its start is kept, and all is read, so that the process does not wait."""

    def __init__(self, process: subprocess.Popen[bytes], max_bytes: int) -> None:
        self._process, self._max_bytes = process, max_bytes
        self._kept = bytearray()
        self.is_cut = False

    def kept(self) -> bytes:
        return bytes(self._kept)

    def follow(self, deadline: float, folder: Folder) -> str | None:
        """Read until the process has ended; if it must be ended, the reason."""
        assert self._process.stdout is not None
        with DefaultSelector() as selector:
            selector.register(self._process.stdout, EVENT_READ)
            looked_at = time.monotonic()
            while self._process.poll() is None:
                if selector.select(_LOOKED_EVERY_S) and not self._read():
                    selector.unregister(self._process.stdout)
                if time.monotonic() > deadline:
                    return "it took too long and was ended"
                if time.monotonic() - looked_at > _LOOKED_EVERY_S:
                    looked_at = time.monotonic()
                    reason = _overfull(folder)
                    if reason is not None:
                        return reason
        return None

    def drain(self) -> None:
        """Read what is left in the pipe, once nothing writes to it any more."""
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        with suppress(BlockingIOError):
            for _ in range(_DRAINED_MAX):
                if not self._read():
                    return

    def _read(self) -> bool:
        assert self._process.stdout is not None
        data = os.read(self._process.stdout.fileno(), _CHUNK_BYTES)
        room = self._max_bytes - len(self._kept)
        self._kept += data[:room]
        self.is_cut = self.is_cut or len(data) > room
        return bool(data)


def _overfull(folder: Folder) -> str | None:
    try:
        count, size_bytes = folder.usage()
    except PhotogramError as error:
        return f"{error}; what it wrote was removed"
    limits = folder.limits
    if count > 2 * limits.files or size_bytes > limits.total_bytes:
        return (
            f"it wrote more than the workspace may hold ({limits.files} files and {limits.total_bytes} bytes); "
            "what it wrote was removed"
        )
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all of its group; what loses its parent becomes a child of the server, and is waited for."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + _REAP_S
    with suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)


def _how(code: int) -> str:
    if code == 0:
        return "normally"
    if code > 0:
        return "with an error"
    if -code == signal.SIGXCPU:
        return "it used too much CPU time and was ended"
    return f"it was ended by the signal {signal.Signals(-code).name}"
