"""The processes of the benchmark: Valkey, one gateway without a worker, and the bare application."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection

from benchmarks.gateway.load import QUEUED_MAX
from service.backbone.connections import connect, wait_for_redis
from service.backbone.keys import add_key
from service.short_lived import free_port
from service.valkey import socket_url, valkey_command

STOP_S = 10.0
START_S = 30.0


@dataclass(frozen=True)
class Server:
    """A server process on a port of the loopback."""

    pid: int
    port: int

    @property
    def cpu_s(self) -> float:
        """The CPU time that the process has used, in seconds (``proc(5)``: the fields utime and stime)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def valkey(key: str) -> Iterator[str]:
    """A Valkey as ``photogram up`` starts it, which knows the API key ``key``; gives its URL."""
    with tempfile.TemporaryDirectory() as folder:
        socket_path = Path(folder) / "valkey.sock"
        url = socket_url(socket_path)
        with _process(valkey_command(Path(folder) / "valkey", socket_path)):
            with connect(url, "benchmark") as connection:
                wait_for_redis(connection, START_S)
                add_key(connection, key, "benchmark")
            yield url


@contextmanager
def gateway(redis_url: str, **variables: str) -> Iterator[Server]:
    """A gateway with further environment variables."""
    with tempfile.TemporaryDirectory() as folder:
        ours = {"REDIS_URL": redis_url, "PHOTOGRAM_DATA": folder, "PHOTOGRAM_MAX_QUEUED": str(QUEUED_MAX)}
        port = free_port()
        command = [sys.executable, "-m", "service.commands.gateway", "--port", str(port)]
        with _process(command, os.environ | ours | variables) as process:
            yield _listening(process, port)


@contextmanager
def bare(redis_url: str) -> Iterator[Server]:
    """The bare application."""
    port = free_port()
    with _process([sys.executable, "-m", "benchmarks.gateway.bare", redis_url, str(port)]) as process:
        yield _listening(process, port)


@contextmanager
def _process(command: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(STOP_S)


def _listening(process: subprocess.Popen[bytes], port: int) -> Server:
    """The server of ``process`` once it accepts connections."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            create_connection(("127.0.0.1", port)).close()
            return Server(process.pid, port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
