"""A burst of connections is accepted together, and a system without free descriptors only delays them."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import ClassVar

import pytest
import uvloop

from service.http import accepting
from service.http.accepting import PER_PASS, Acceptor

BURST = 3 * PER_PASS


class Counted(asyncio.Protocol):
    """Notes how many connections were open when the first data came."""

    transports: ClassVar[list[asyncio.BaseTransport]]
    open_at_first_data: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        if type(self).open_at_first_data is None:
            type(self).open_at_first_data = len(self.transports)


class WithoutDescriptors(socket.socket):
    """A listening socket for which the system has no descriptors at first."""

    refusals = 2

    def accept(self) -> tuple[socket.socket, object]:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made: asyncio.AbstractEventLoop = request.param()
    yield made
    made.close()


def listening(kind: type[socket.socket] = socket.socket) -> socket.socket:
    listener = kind()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2 * BURST)
    return listener


async def accept_all(listener: socket.socket, held: ExitStack) -> type[Counted]:
    """Connect many clients, each with a request, before the loop may accept the first one; wait until all are open."""

    class Protocol(Counted):
        transports: ClassVar[list[asyncio.BaseTransport]] = []

    acceptor = Acceptor(listener, Protocol)
    for _ in range(BURST):
        client = held.enter_context(socket.create_connection(listener.getsockname()))
        client.sendall(b"x")
    while len(Protocol.transports) < BURST or Protocol.open_at_first_data is None:
        await asyncio.sleep(0.01)
    acceptor.close()
    await acceptor.wait_closed()
    for transport in Protocol.transports:
        transport.close()
    await asyncio.sleep(0.05)  # the transports close in a later pass of the loop
    return Protocol


def test_many_connections_are_accepted_before_the_first_of_them_is_served(loop: asyncio.AbstractEventLoop) -> None:
    with ExitStack() as held:
        counted = loop.run_until_complete(accept_all(held.enter_context(listening()), held))
    assert counted.open_at_first_data is not None and counted.open_at_first_data >= PER_PASS


def test_connections_wait_while_there_are_no_descriptors(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "PAUSE_S", 0.05)
    with ExitStack() as held:
        counted = loop.run_until_complete(accept_all(held.enter_context(listening(WithoutDescriptors)), held))
    assert len(counted.transports) == BURST
    assert [record.getMessage() for record in caplog.records] == 2 * [
        "no connection can be accepted for 0 s: Too many open files"
    ]


def test_nothing_is_accepted_after_the_end(loop: asyncio.AbstractEventLoop) -> None:
    async def connect_after_close(listener: socket.socket, client: socket.socket) -> None:
        acceptor = Acceptor(listener, Counted)
        acceptor.close()
        await acceptor.wait_closed()
        client.connect(listener.getsockname())
        await asyncio.sleep(0.1)

    Counted.transports = []
    with listening() as listener, socket.socket() as client:
        loop.run_until_complete(connect_after_close(listener, client))
    assert not Counted.transports
