"""Runs all tests in two processes at the same time, because most tests use one core only.

``python scripts/run_tests.py`` prints the output of one part as it comes, and then that of the other; it ends with 1 if
a test fails. Its arguments go to pytest. ``python -m pytest`` runs the same tests in one process.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
FIRST = ("models", "workers", "contract", "gpu", "clients", "training", "scripts")
"""The folders of the first part, which takes about as long as everything else."""
WITHOUT_TESTS = ("tiny", "discord_standin", "__pycache__")
"""Folders that hold no tests."""


def parts() -> tuple[list[str], list[str]]:
    """The paths of the tests of each part; together they are all tests."""
    rest = [path for path in sorted(TESTS.iterdir()) if path.name not in (*FIRST, *WITHOUT_TESTS)]
    return [str(TESTS / name) for name in FIRST], [
        str(path) for path in rest if path.is_dir() or path.name.startswith("test_")
    ]


def main(arguments: Sequence[str]) -> int:
    """Run both parts; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder) / name for name in ("first", "rest")]
        running = [_start(paths, arguments, log) for paths, log in zip(parts(), logs, strict=True)]
        codes = [_follow(process, log) for process, log in zip(running, logs, strict=True)]
    return int(any(codes))


def _start(paths: Sequence[str], arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        command = [sys.executable, "-m", "pytest", *paths, *arguments]
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def _follow(process: subprocess.Popen[bytes], log: Path) -> int:
    """Print the output of a part as it comes; returns its exit code."""
    with log.open("rb") as output:
        while process.poll() is None:
            time.sleep(1)
            _print(output.read())
        _print(output.read())
    return process.returncode


def _print(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
