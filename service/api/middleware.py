"""Middleware of all routes: request ids and rendering of errors; ``body_guard`` has the limits on bodies."""

from __future__ import annotations

import asyncio
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import ErrorRenderer
from service.api.stopping import GatewayStops, stopping_of

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestId:
    """Gives each request an id and returns it in ``X-Request-ID``; a valid id that the client sent is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        sent = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


class ErrorRendering:
    """Renders every exception that no route handled as a response."""

    def __init__(self, app: ASGIApp, renderer: ErrorRenderer) -> None:
        self._app = app
        self._renderer = renderer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        is_started = False

        async def watched_send(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:  # the server stops, and the request took longer than it may take then
            if is_started or not stopping_of(scope).is_set:
                raise
            await (await self._renderer(Request(scope), GatewayStops()))(scope, receive, send)
        except Exception as error:
            response = await self._renderer(Request(scope), error)
            # After the headers are sent, no other status is possible; uvicorn closes the connection.
            if not is_started:
                await response(scope, receive, send)
