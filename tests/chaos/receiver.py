"""A receiver of webhooks as a process of its own, which can be killed: ``python -m tests.chaos.receiver PORT FILE``.

It appends one line for each event to the file before it answers: the ``webhook-id``, the type of the event, and the id
and status of its job, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Told:
    """One event that arrived."""

    message_id: str
    type: str
    job_id: str
    status: str


class ReceiverProcess:
    """The process; ``file`` outlives it."""

    def __init__(self, port: int, file: Path) -> None:
        self.url, self._port, self._file = f"http://127.0.0.1:{port}/hook", port, file
        self._file.touch()
        self.start()

    def start(self) -> None:
        """Start it; returns once it listens."""
        command = [sys.executable, "-m", "tests.chaos.receiver", str(self._port), str(self._file)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stdout.readline() == b"listening\n"

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def told(self) -> list[Told]:
        """All events so far."""
        return [Told(*json.loads(line)) for line in self._file.read_text().splitlines()]


def _serve(port: int, file: Path) -> None:
    output = os.open(file, os.O_WRONLY | os.O_APPEND)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            line = [self.headers["webhook-id"], event["type"], event["data"]["id"], event["data"]["status"]]
            os.write(output, json.dumps(line).encode() + b"\n")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print("listening", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]))
