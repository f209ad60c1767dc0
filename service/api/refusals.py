"""The middleware that notes each refused request in the trail."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.health import PROBES
from service.api.paths import route_of
from service.api.proxies import client_host
from service.backbone import trail

_REFUSED_FROM = 400


class NotedRefusals:
    """Writes one line for each response with a status from 400 on, whichever part of the server made it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def noting_send(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start" and message["status"] >= _REFUSED_FROM:
                _note(scope, message["status"])

        await self._app(scope, receive, noting_send)


def _note(scope: Scope, status: int) -> None:
    state = scope["state"]
    if scope["path"] in PROBES:  # a 503 is their answer, not a refusal
        return
    trail.refused(
        method=scope["method"],
        route=state.get("route") or route_of(scope),
        status=status,
        code=state.get("error_code"),
        key=state.get("key_id"),
        address=client_host(scope),
    )
