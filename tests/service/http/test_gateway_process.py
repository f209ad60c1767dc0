"""The gateway as a process of its own, with the descriptors that a shell gives by default."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from service.http.descriptors import connections_for
from service.short_lived import free_port
from tests.service.http.conftest import HEALTH, read_answer

DESCRIPTORS = 1024
SOCKETS = 1100


@pytest.fixture
def gateway_port(redis_url: str, data: Path) -> Iterator[int]:
    """A gateway that may open :data:`DESCRIPTORS` files."""
    resource_limit = (DESCRIPTORS, DESCRIPTORS)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "service.commands.gateway", "--port", str(port)],
        env=os.environ | {"REDIS_URL": redis_url, "PHOTOGRAM_DATA": str(data)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, resource_limit),
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\nHos", HEALTH], ids=["nothing", "half a header", "one request"]
)
def test_a_newcomer_is_answered_beside_more_idle_sockets_than_descriptors(gateway_port: int, sent: bytes) -> None:
    with ExitStack() as held:
        for _ in range(SOCKETS):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", gateway_port), timeout=20))
            with suppress(ConnectionError):
                connection.sendall(sent)
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", gateway_port), timeout=20) as newcomer:
                newcomer.sendall(HEALTH)
                assert read_answer(newcomer).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("descriptors", "wanted", "connections"),
    [(1024, 4096, 768), (20_000, 4096, 4096), (256, 4096, 128), (64, 10, 1), (resource.RLIM_INFINITY, 4096, 4096)],
)
def test_some_descriptors_stay_free(descriptors: int, wanted: int, connections: int) -> None:
    assert connections_for(descriptors, wanted) == connections
