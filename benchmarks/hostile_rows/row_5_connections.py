"""Connections without a key: more idle sockets than descriptors, half headers and half bodies."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

from benchmarks.hostile_rig import Target

ENVIRONMENT = {"PHOTOGRAM_MAX_CONNECTIONS": "768"}
"""As many as a process with 1024 descriptors may keep."""
_SOCKETS = 1100
_HELD_S = 30.0
_BEGINNINGS = {
    "nothing": b"",
    "half a header": b"GET /healthz HTTP/1.1\r\nHos",
    "half a body": b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
}


def attack(target: Target) -> str:
    """Open the sockets, hold them, and count how many the server has closed by then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    address = urlsplit(target.url)
    came = []
    for name, beginning in _BEGINNINGS.items():
        with ExitStack() as held:
            sockets = [_open(held, (str(address.hostname), address.port or 80), beginning) for _ in range(_SOCKETS)]
            time.sleep(_HELD_S)
            closed = sum(map(_is_closed, sockets))
        came.append(f"{name}: {closed} of {_SOCKETS} closed after {_HELD_S:.0f} s")
    return "; ".join(came)


def _open(held: ExitStack, address: tuple[str, int], beginning: bytes) -> socket.socket:
    connection = held.enter_context(socket.create_connection(address, timeout=30))
    with suppress(ConnectionError):
        connection.sendall(beginning)
    return connection


def _is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed the connection; reads what it has answered."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True
