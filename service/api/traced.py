"""The middleware that begins the trace of a request; it is there only if traces are exported."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.paths import route_of
from service.backbone.spans import Spans
from service.backbone.tracing import TRACEPARENT, set_request

_FAILED = 500


class TracedRequests:
    """Gives each request a span, in the trace that its header ``traceparent`` names."""

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app, self._spans = app, spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        span, status = self._spans.request(Headers(scope=scope).get(TRACEPARENT)), _FAILED

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        set_request(span)
        try:
            await self._app(scope, receive, noting_send)
        finally:
            set_request(None)
            span.end(scope["method"], route_of(scope), status)
