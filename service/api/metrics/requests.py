"""The middleware that counts and times requests; its labels are route patterns, never paths."""

from __future__ import annotations

import time

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.paths import METHODS, route_of
from service.backbone.metrics import OTHER, REGISTRY

_METHODS = (*METHODS, "OPTIONS")
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_REQUESTS = Counter(
    "photogram_http_requests", "Requests that were answered.", ["method", "route", "status"], registry=REGISTRY
)
_LATENCY = Histogram(
    "photogram_http_request_seconds",
    "Seconds from the arrival of a request's header to the begin of its response; requests that wait take long.",
    ["method", "route"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
_ERRORS = Counter(
    "photogram_http_errors", "Error responses, by the code that docs/errors.md explains.", ["code"], registry=REGISTRY
)


class MeasuredRequests:
    """Counts each request when its response begins, whichever part of the server made that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began_s = time.perf_counter()

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                _count(scope, message["status"], time.perf_counter() - began_s)
            await send(message)

        await self._app(scope, receive, counting_send)


def _count(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else OTHER
    route = route_of(scope)
    _REQUESTS.labels(method, route, str(status)).inc()
    _LATENCY.labels(method, route).observe(seconds)
    code = scope.get("state", {}).get("error_code")
    if code is not None:
        _ERRORS.labels(code).inc()
