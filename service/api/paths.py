"""Paths and methods as clients send them: superfluous slashes, HEAD where GET is, all methods in ``Allow``."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SLASHES = re.compile(r"/{2,}")
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
"""The methods that routes may have, in alphabetical order."""


class PlainPaths:
    """Removes repeated and trailing slashes from the path before it is routed, so that no client is redirected.

    A redirect would lose the body or the key of some clients.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if "//" in path or (path.endswith("/") and path != "/"):
                scope["path"] = _SLASHES.sub("/", path).rstrip("/") or "/"
        await self._app(scope, receive, send)


class HeadSent(ClientDisconnect):
    """The headers that answer HEAD are sent, and the client expects no body."""


class HeadAsGet:
    """Answers HEAD on a route that has only GET with the headers of GET; the body is not made."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or "HEAD" in methods_of(scope):
            return await self._app(scope, receive, send)

        async def send_headers(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                raise HeadSent

        try:
            # A copy: the server must go on to see HEAD, so that it sends no body.
            await self._app({**scope, "method": "GET"}, receive, send_headers)
        except HeadSent:
            return


def methods_of(scope: MutableMapping[str, Any]) -> list[str]:
    """The methods that the application has for the path of the request, in alphabetical order."""
    routes: list[BaseRoute] = scope["app"].router.routes
    return [method for method in METHODS if any(_takes(route, {**scope, "method": method}) for route in routes)]


def route_of(scope: MutableMapping[str, Any]) -> str:
    """The pattern of the path, such as ``/v1/jobs/{job_id}``; ``-`` if the application has no such route."""
    route = scope.get("route")
    return getattr(route, "path", None) or "-"


def allowed_methods(scope: MutableMapping[str, Any]) -> str:
    """The value of ``Allow`` for the path of the request."""
    methods = methods_of(scope)
    return ", ".join(sorted({*methods, "HEAD"} if "GET" in methods else methods))


def _takes(route: BaseRoute, scope: MutableMapping[str, Any]) -> bool:
    return route.matches(scope)[0] is Match.FULL
