"""The gateway's listening socket, its own or an inherited one, and the server that ends waits when it stops."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any

import uvicorn

from service.http.accepting import Acceptor

_SYSTEMD_FIRST_FD = 3
BACKLOG = 2048
"""How many connections may wait to be accepted; the kernel may allow fewer."""


class GatewayServer(uvicorn.Server):
    """Accepts connections many at a time, and ends open waits and event streams before it shuts down."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the application, then accept connections of ``sockets``."""
        await super().startup(sockets=[])
        acceptors: Any = [Acceptor(listener, self._protocol) for listener in sockets or []]
        self.servers = acceptors

    def _protocol(self) -> asyncio.Protocol:
        """The protocol of a new connection, as uvicorn makes it."""
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all waits, with 503 or their last event, then finish the other requests and close all connections."""
        stopping = self.lifespan.state.get("stopping")
        if stopping is not None:
            stopping.stop()
        await super().shutdown(sockets)


def listening_socket(
    host: str,
    port: int,
    *,
    fd: int | None = None,
    is_shared: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> socket.socket:
    """The socket that a parent process or systemd passed on, or else a new one.

    Args:
        fd: the descriptor of a socket that the parent process opened.
        is_shared: whether another process may listen on the same port (``SO_REUSEPORT``).
        environment: systemd says in ``LISTEN_FDS`` and ``LISTEN_PID`` that it passed a socket on (sd_listen_fds(3)).

    Raises:
        OSError: the descriptor is no socket, the port is in use, or there is no such address.
        OverflowError: there is no such port.
    """
    if fd is None and environment.get("LISTEN_PID") == str(os.getpid()) and environment.get("LISTEN_FDS") == "1":
        fd = _SYSTEMD_FIRST_FD
    if fd is not None:
        return socket.socket(fileno=fd)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=is_shared)
