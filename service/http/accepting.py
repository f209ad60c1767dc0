"""Accepts connections many at a time, so that a burst of them does not keep later ones waiting in the kernel."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

PER_PASS = 64
"""How many connections are accepted in one pass of the event loop; each takes about a tenth of a millisecond."""
PAUSE_S = 1.0
"""How long nothing is accepted after the system refused a descriptor or memory."""

_NO_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = logging.getLogger(__name__)


class Acceptor:
    """Accepts connections of one listening socket, with the part of ``asyncio.Server`` that uvicorn needs.

    uvloop accepts one connection in each pass of the event loop, after everything that the connections before it
    asked for. So a client that needs a millisecond of the gateway waits a second behind a thousand others, however
    quickly its own request could be answered.

    Args:
        listener: the listening socket, which the owner closes.
        protocol: makes the protocol of one connection.
    """

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listener, self._protocol = listener, protocol
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._resumes: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no further connections; the open ones stay."""
        self._loop.remove_reader(self._listener)
        if self._resumes is not None:
            self._resumes.cancel()

    async def wait_closed(self) -> None:
        """Wait until the connections that were accepted last have their protocols."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _resume(self) -> None:
        self._resumes = None
        self._loop.add_reader(self._listener, self._accept_many)

    def _accept_many(self) -> None:
        for _ in range(PER_PASS):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # the client left before it was accepted
                continue
            except OSError as error:
                if error.errno not in _NO_RESOURCES:
                    raise
                return self._pause(error)
            self._open(connection)

    def _pause(self, error: OSError) -> None:
        log.warning("no connection can be accepted for %.0f s: %s", PAUSE_S, error.strerror)
        self._loop.remove_reader(self._listener)
        self._resumes = self._loop.call_later(PAUSE_S, self._resume)

    def _open(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = self._loop.create_task(self._connect(connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # the client left
            connection.close()
