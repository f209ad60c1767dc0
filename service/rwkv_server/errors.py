"""Errors in OpenAI's format, and the middleware that answers for every exception.

PhotogramError
└── RequestError    an answer other than success, with its HTTP status
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import PhotogramError

INVALID_VALUE = "invalid_value"
_MESSAGE_MAX_CHARS = 1000
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TYPES = {429: "rate_limit_error"}

_log = logging.getLogger(__name__)


class RequestError(PhotogramError):
    """An error response; ``param`` names the parameter at fault, if one is."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str = INVALID_VALUE,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message[:_MESSAGE_MAX_CHARS]
        self.param, self.code, self.status = param, code, status
        self.headers = dict(headers or {})

    def to_json(self) -> str:
        """OpenAI's error object in ASCII, since UTF-8 cannot encode half of a surrogate pair from a request."""
        default = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": _TYPES.get(self.status, default), "param": self.param}
        return json.dumps({"error": error | {"code": self.code}})

    def response(self) -> Response:
        return Response(self.to_json(), self.status, self.headers, "application/json")


def internal_error(message: str) -> RequestError:
    return RequestError(message, code="internal_error", status=500)


async def render_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    if error.status >= 500:
        _log.error("request %s failed: %s", request.state.request_id, error)
    return error.response()


async def render_http_exception(request: Request, error: Exception) -> Response:
    """An error of the framework, such as an unknown route, in OpenAI's format."""
    assert isinstance(error, HTTPException)
    known = {
        404: ("there is no such route", "not_found"),
        405: ("this route has no such method", "method_not_supported"),
    }
    if error.status_code not in known:
        return internal_error("the request could not be processed").response()
    message, code = known[error.status_code]
    return RequestError(message, code=code, status=error.status_code, headers=error.headers).response()


class RequestBoundary:
    """Gives each response a request id (the client's own if it is a plain word) and unforeseen exceptions a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        given = Headers(scope=scope).get("X-Request-ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        is_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            return
        except Exception:
            _log.exception("request %s failed", request_id)
            # A response that has begun cannot be replaced: it stays incomplete, and the server closes the connection.
            if not is_started:
                error = internal_error("something went wrong; the log has it under this request's id")
                await error.response()(scope, receive, send_with_id)
