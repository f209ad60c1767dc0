"""A cell that tries to get out: the text of this module is run as any cell is, and prints what was refused, as JSON.

Each attempt raises what refused it, or returns what it reached.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable

_SEIZE, _NEW_USER_NAMESPACE = 0x4206, 0x10000000
_KEPT = {"LANG", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "LC_CTYPE"}
_SECRETS = (
    "/etc/passwd",
    "/etc/hostname",
    "/etc/os-release",
    "/proc/1/environ",
    "/proc/self/environ",
    "/root/.profile",
)
_OUTSIDE = ("/tmp", "/var/tmp", "/dev/shm", "..", os.path.dirname(os.__file__))
_PROGRAMS = ("/bin/sh", "/usr/bin/env", "/bin/busybox")
_libc = ctypes.CDLL(None, use_errno=True)


def connect() -> str:
    socket.create_connection(("127.0.0.1", 9), timeout=2).close()
    return "127.0.0.1"


def connect_within_the_machine() -> str:
    socket.socket(socket.AF_UNIX).connect("/var/run/docker.sock")
    return "a socket"


def read_outside() -> str:
    return _first(_SECRETS, lambda path: open(path, "rb").close())


def write_outside() -> str:
    return _first([f"{folder}/attempt" for folder in _OUTSIDE], _written)


def read_secrets_of_the_environment() -> str:
    names = set(os.environ) - _KEPT
    if not names:
        raise PermissionError("there are none")
    return ", ".join(sorted(names))


def use_inherited_files() -> str:
    found = [number for number in range(3, 64) if _is_open(number)]
    if not found:
        raise PermissionError("there are none")
    return str(found)


def run_a_program() -> str:
    return _first(_PROGRAMS, lambda path: subprocess.run([path, "-c", "true"], check=False))


def trace_the_server() -> str:
    _checked(_libc.ptrace(_SEIZE, os.getppid(), None, None))
    return "the server"


def signal_the_server() -> str:
    os.kill(os.getppid(), 0)
    return "the server"


def make_a_namespace() -> str:
    _checked(_libc.unshare(_NEW_USER_NAMESPACE))
    return "a user namespace"


def become_root() -> str:
    os.setresuid(0, 0, 0)
    return "root"


def start_many_processes(processes_max: int) -> str:
    reading, writing = os.pipe()
    count = 0
    try:
        while count <= processes_max:
            if os.fork() == 0:
                os.close(writing)
                os.read(reading, 1)
                os._exit(0)
            count += 1
        return f"{count} processes"
    finally:
        os.close(writing)
        for _ in range(count):
            os.wait()


def take_much_memory(memory_max_bytes: int) -> str:
    mmap.mmap(-1, memory_max_bytes).close()
    return f"{memory_max_bytes} bytes"


def write_a_huge_file(file_max_bytes: int) -> str:
    try:
        with open("attempt", "wb") as file:
            file.truncate(file_max_bytes + 1)
    finally:
        os.unlink("attempt")
    return f"{file_max_bytes + 1} bytes"


def _first(places: Iterable[str], attempt: Callable[[str], object]) -> str:
    """The first of ``places`` with which ``attempt`` succeeds."""
    refused = OSError("there are none")
    for place in places:
        try:
            attempt(place)
        except OSError as error:
            refused = error
        else:
            return place
    raise refused


def _written(path: str) -> None:
    open(path, "wb").close()
    os.unlink(path)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _tried(attempt: Callable[[], str]) -> dict[str, object]:
    try:
        return {"refused": False, "how": f"it reached {attempt()}"}
    except (OSError, MemoryError, ValueError, OverflowError) as error:
        return {"refused": True, "how": getattr(error, "strerror", None) or str(error) or type(error).__name__}


def main(processes_max: int, file_max_bytes: int, memory_max_bytes: int) -> None:
    """Make all attempts, and print what became of them."""
    attempts: dict[str, Callable[[], str]] = {
        each.__name__.replace("_", " "): each
        for each in (
            connect, connect_within_the_machine, read_outside, write_outside, read_secrets_of_the_environment,
            use_inherited_files, run_a_program, trace_the_server, signal_the_server, make_a_namespace, become_root,
        )
    }  # fmt: skip
    attempts |= {
        "start many processes": lambda: start_many_processes(processes_max),
        "take much memory": lambda: take_much_memory(memory_max_bytes),
        "write a huge file": lambda: write_a_huge_file(file_max_bytes),
    }
    json.dump({name: _tried(attempt) for name, attempt in attempts.items()}, sys.stdout)
