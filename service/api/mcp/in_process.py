"""Requests from this process to its own routes: nothing is sent over a network, and responses stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, MutableMapping
from typing import Any

import httpx2
from starlette.types import ASGIApp, Scope

_WAITING_MAX = 16
"""So many messages of a response wait until they are read."""


class InProcessTransport(httpx2.AsyncBaseTransport):
    """Hands requests to ``app``, and gives their responses as they come.

    Args:
        outer: the scope of the request on whose behalf these are; they come from the same address.
        state: what the lifespan of ``app`` gives to requests.
        base: the URL of ``app`` for clients; a proxy removes its path. Requests for other hosts go over the network.
    """

    def __init__(self, app: ASGIApp, outer: Scope, state: Mapping[str, Any], base: str) -> None:
        url = httpx2.URL(base)
        self._app, self._outer, self._state = app, outer, state
        self._netloc, self._prefix = url.netloc, url.path.rstrip("/")
        self._opened: httpx2.AsyncHTTPTransport | None = None

    def _network(self) -> httpx2.AsyncHTTPTransport:
        if self._opened is None:
            self._opened = httpx2.AsyncHTTPTransport()
        return self._opened

    async def aclose(self) -> None:
        """Close connections to other hosts."""
        if self._opened is not None:
            await self._opened.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See :class:`httpx2.AsyncBaseTransport`."""
        if request.url.netloc != self._netloc:  # such as a link to an object store
            return await self._network().handle_async_request(request)
        exchange = _Exchange(await request.aread())
        exchange.begin(self._app, self._scope(request))
        try:
            return await exchange.response()
        except asyncio.CancelledError:
            exchange.abandon(may_finish=request.method != "GET")
            raise

    def _scope(self, request: httpx2.Request) -> Scope:
        url = request.url
        path, raw_path = url.path, url.raw_path.split(b"?")[0]
        if self._prefix and path.startswith(self._prefix):
            path, raw_path = path.removeprefix(self._prefix), raw_path[len(self._prefix.encode()) :]
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw], "scheme": url.scheme,
            "path": path, "raw_path": raw_path, "query_string": url.query, "root_path": "",
            "server": self._outer.get("server"), "client": self._outer.get("client"), "state": dict(self._state),
        }  # fmt: skip


class _Exchange:
    """One request and its response."""

    def __init__(self, body: bytes) -> None:
        self._body, self._is_read = body, False
        self._messages: asyncio.Queue[MutableMapping[str, Any] | Exception] = asyncio.Queue(_WAITING_MAX)
        self._is_over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, app: ASGIApp, scope: Scope) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(app, scope))

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:
            if not self._is_over.is_set():
                await self._messages.put(error)
        finally:
            self._is_over.set()

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._is_over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if not self._is_over.is_set():
            await self._messages.put(message)

    def abandon(self, *, may_finish: bool) -> None:
        """End the request, whose client is gone, or let it finish what it has begun, whose response nobody reads."""
        self._is_over.set()
        if not may_finish and self._task is not None:
            self._task.cancel()
        while not self._messages.empty():
            self._messages.get_nowait()  # so that the application does not wait for room

    async def response(self) -> httpx2.Response:
        """The response, once it has begun."""
        start = await self._next()
        return httpx2.Response(start["status"], headers=start.get("headers", []), stream=_Body(self))

    async def _next(self) -> MutableMapping[str, Any]:
        message = await self._messages.get()
        if isinstance(message, Exception):
            raise httpx2.ReadError(f"{type(message).__name__}: {message}") from message
        return message

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body."""
        has_more = True
        while has_more:
            message = await self._next()
            has_more = message.get("more_body", False)
            yield message.get("body", b"")

    async def end(self) -> None:
        """End the request, whose client wants no more of it."""
        self._is_over.set()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])


class _Body(httpx2.AsyncByteStream):
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._exchange.pieces()

    async def aclose(self) -> None:
        await self._exchange.end()
