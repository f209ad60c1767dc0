"""A small application behind the guarded protocol, on a real uvicorn, and plain sockets that talk to it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from service.backbone.addresses import AddressSet
from service.commands.listening import GatewayServer
from service.http.protocol import GuardedProtocol, guarded_protocol
from service.http.registry import ConnectionLimits, ConnectionRegistry

LIMITS = ConnectionLimits(
    total=1000, per_address=1000, trusted=AddressSet(), header_s=30.0, drain_s=30.0, drain_bytes=1 << 20,
    keep_alive_s=30.0, write_s=30.0,
)  # fmt: skip
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
BIG_BYTES = 64 << 20


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _echo(request: Request) -> Response:
    try:
        return PlainTextResponse(str(len(await request.body())))
    except ClientDisconnect:
        return Response()


async def _unread(_: Request) -> Response:
    return PlainTextResponse("not wanted", 413)


async def _slow(_: Request) -> Response:
    await asyncio.sleep(0.5)
    return PlainTextResponse("slow")


async def _held(request: Request) -> Response:
    while not request.app.state.released.is_set():
        await asyncio.sleep(0.02)
    return PlainTextResponse("held")


async def _big(_: Request) -> Response:
    return Response(b"x" * BIG_BYTES)


async def _stream(_: Request) -> Response:
    async def pieces():
        for _ in range(BIG_BYTES >> 16):
            yield b"x" * (1 << 16)

    return StreamingResponse(pieces())


ROUTES = [
    Route("/healthz", _health),
    Route("/slow", _slow),
    Route("/held", _held),
    Route("/big", _big),
    Route("/stream", _stream),
    Route("/echo", _echo, methods=["POST"]),
    Route("/unread", _unread, methods=["POST"]),
]


class Served:
    """A running server and its protocol class."""

    def __init__(self, address: tuple[str, int], protocol: type[GuardedProtocol], released: threading.Event) -> None:
        self.address, self.protocol = address, protocol
        self.released = released
        """Requests of ``/held`` are answered once it is set."""

    @property
    def connections(self) -> int:
        return len(self.protocol.registry)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)

    def ask(self, data: bytes) -> bytes:
        """The whole answer to ``data`` on a connection of its own."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_answer(connection)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def read_answer(connection: socket.socket) -> bytes:
    """One answer with a Content-Length; what came if the connection ends."""
    found = b""
    while True:
        head, blank, body = found.partition(b"\r\n\r\n")
        if blank:
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
            if len(body) >= length:
                return found
        piece = connection.recv(1 << 16)
        if not piece:
            return found
        found += piece


def read_end(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    found = bytearray()
    try:
        while piece := connection.recv(1 << 16):
            found += piece
    except ConnectionError:
        pass
    return bytes(found)


@contextmanager
def guarded(**changes: Any) -> Iterator[Served]:
    protocol = guarded_protocol(ConnectionRegistry(replace(LIMITS, **changes)))
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=ROUTES)
    app.state.released = threading.Event()
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, http=protocol, ws="none")
    server = GatewayServer(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield Served(listener.getsockname(), protocol, app.state.released)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A server with wide limits."""
    with guarded() as running:
        yield running
