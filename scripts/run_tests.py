"""Runs all tests in three processes at the same time: most tests use one core only, and half of the time none.

``python scripts/run_tests.py`` runs each part of the tests in a process of its own. It prints the output of one part
after the other, that of the first one which has not ended as it comes, and last the failed tests of all parts. It ends
with 1 if a test fails. Its arguments go to pytest. ``python -m pytest`` runs the same tests in one process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
PROCESSES = 3
"""One more than the cores of a small machine: tests of whole services wait for half of their time."""
_SUMMARY = b"short test summary info"
OTHERS = "all other tests"
PARTS = (
    "workers",
    "models/diffusion",
    "service/api",
    OTHERS,
    "e2e",
    "docs",
    "contract",
    "clients",
    "models/deploy",
    "chaos",
    "service/backbone",
    "models/vision",
)
"""Folders that are a part of their own, and all others; those that take longest first, so that all processes end at
about one time."""


def parts() -> list[list[str]]:
    """The paths of the tests of each part; together they are all tests."""
    folders = [TESTS / name for name in PARTS if name != OTHERS]
    return [_others(TESTS, folders) if name == OTHERS else [str(TESTS / name)] for name in PARTS]


def _others(folder: Path, taken: Sequence[Path]) -> list[str]:
    """The paths in ``folder`` that hold tests and do not belong to ``taken``."""
    found: list[str] = []
    for path in sorted(folder.iterdir()):
        if any(path in each.parents for each in taken):
            found += _others(path, taken)
        elif path not in taken and (path.match("test_*.py") or any(path.rglob("test_*.py"))):
            found.append(str(path))
    return found


def main(arguments: Sequence[str]) -> int:
    """Run all parts; returns the exit code."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(PROCESSES) as processes:
        running: list[tuple[Path, Future[int]]] = []
        for number, paths in enumerate(parts()):
            log = Path(name) / str(number)
            log.touch()
            running.append((log, processes.submit(_run, paths, arguments, log)))
        codes = [_follow(part, log) for log, part in running]
        failed = [line for log, _ in running for line in _failed(log)]
    if failed:
        _print(b"\nFailed tests of all parts:\n" + b"".join(failed))
    return int(any(codes))


def _run(paths: Sequence[str], arguments: Sequence[str], log: Path) -> int:
    """Run one part; returns its exit code."""
    command = [sys.executable, "-m", "pytest", *paths, *arguments]
    environment = {"OMP_NUM_THREADS": "1"} | os.environ  # torch's threads would wait for those of the other process
    with log.open("wb") as output:
        ended = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
    return ended.returncode


def _follow(part: Future[int], log: Path) -> int:
    """Print the output of a part as it comes; returns its exit code."""
    with log.open("rb") as output:
        while not part.done():
            time.sleep(1)
            _print(output.read())
        _print(output.read())
    return part.result()


def _failed(log: Path) -> list[bytes]:
    """The lines of pytest's summary that name a failed test."""
    summary = log.read_bytes().rpartition(_SUMMARY)[2]
    return [line for line in summary.splitlines(keepends=True) if line.startswith((b"FAILED ", b"ERROR "))]


def _print(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
