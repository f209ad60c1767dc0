"""``photogram up`` where it must not start: said in one line, with nothing left running. The rest is in tests/e2e."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def up(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    command = [sys.executable, "-m", "service", "--data", str(data), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


class _AlwaysReady(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port where somebody else answers that all is well."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _AlwaysReady) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_another_service_on_the_port_is_not_taken_for_ours(data: Path, taken_port: int) -> None:
    done = up(data, "--port", str(taken_port))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the gateway could not start on http://127.0.0.1:{taken_port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_that_is_in_use_is_left_alone(data: Path) -> None:
    with (data / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = up(data, "--port", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"another photogram up is running with {data}" in done.stderr
    assert list(data.iterdir()) == [data / "up.lock"]


@pytest.mark.parametrize("arguments", [("--port", "70000"), ("--workers", "0"), ("--host", "no such host")])
def test_arguments_that_make_no_sense_are_refused(data: Path, arguments: tuple[str, str]) -> None:
    done = up(data, *arguments)
    assert done.returncode in (1, 2) and done.stdout == ""
    assert "photogram up: " in done.stderr and "Traceback" not in done.stderr
