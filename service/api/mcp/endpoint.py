"""The route ``/mcp``: checks the API key, and lets the MCP server answer, whose tools call this server's own API.

The library is imported with the first request: it takes a second, and most servers are never asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.auth import authenticate_request
from service.api.images import base_url
from service.api.mcp.in_process import InProcessTransport
from service.api.state import Gateway

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from photogram import AsyncPhotogram

MCP_PATH = "/mcp"
_LIFESPAN = ("gateway", "stopping")
"""What the lifespan gives to every request."""


class McpEndpoint:
    """An ASGI application for one path; each request stands alone, so any process of the gateway may answer it.

    Args:
        app: gives the application that tools call.
        max_body_bytes: of a request.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app, self._max_body_bytes = app, max_body_bytes
        self._started: asyncio.Task[StreamableHTTPSessionManager] | None = None
        self._serving: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            ApiError: there is no API key, it is not known, or the body is refused.
            ClientDisconnect: the client was gone before its body had arrived.
        """
        request = Request(scope, receive)
        gateway: Gateway = scope["state"]["gateway"]
        await authenticate_request(request, gateway)
        body = await request.body()  # the library would answer all that happens to a body with 500
        await (await self._manager()).handle_request(scope, _again(body, receive), send)

    async def _manager(self) -> StreamableHTTPSessionManager:
        if self._started is None:
            self._started = asyncio.get_running_loop().create_task(self._start())
        return await asyncio.shield(self._started)

    async def _start(self) -> StreamableHTTPSessionManager:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
        from photogram_mcp import build_server

        server = build_server(self._client)
        manager = StreamableHTTPSessionManager(
            server._lowlevel_server, stateless=True, max_request_body_size=self._max_body_bytes
        )
        ready = asyncio.Event()
        self._serving = asyncio.get_running_loop().create_task(_serve(manager, ready))
        await ready.wait()
        return manager

    async def stop(self) -> None:
        """End all requests."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait([self._serving])

    @asynccontextmanager
    async def _client(self, context: Context[Any, Any]) -> AsyncIterator[AsyncPhotogram]:
        """A client with the API key of the request, which calls this process."""
        from photogram import AsyncPhotogram

        outer = context.request_context.request
        assert isinstance(outer, Request)  # over HTTP there is always one
        state = {name: outer.scope["state"][name] for name in _LIFESPAN}
        base = base_url(outer, state["gateway"])
        transport = InProcessTransport(self._app, outer.scope, state, base)
        async with httpx2.AsyncClient(transport=transport) as http:
            yield AsyncPhotogram(base, _key(outer), max_retries=0, http_client=http)


async def _serve(manager: StreamableHTTPSessionManager, ready: asyncio.Event) -> None:
    """Keep the tasks of ``manager`` in this one, until it is cancelled."""
    async with manager.run():
        ready.set()
        await asyncio.Event().wait()


def _again(body: bytes, receive: Receive) -> Receive:
    """``receive`` of a request whose body was received before."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def _key(request: Request) -> str | None:
    """The API key of a request that was checked before, from the header in which it came."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("x-api-key") or request.headers.get("x-prodia-key")


def mcp_route(endpoint: McpEndpoint) -> Route:
    """The route of ``endpoint``."""
    return Route(MCP_PATH, endpoint=endpoint, methods=None, include_in_schema=False)
