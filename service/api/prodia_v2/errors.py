"""Errors as Prodia's API v2 sends them: JSON, or a form for a client that sent one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from models.errors import FieldProblem, InvalidTicket, ProblemCode
from service.api.errors import ApiError, Dialect, ErrorCode, to_api_error
from service.api.multipart import is_form
from service.api.prodia_v2.forms import form_response
from service.api.prodia_v2.response_format import accepts_form
from service.api.responses import json_response
from service.api.stopping import GatewayStops
from service.backbone.queue import QueueFull

TOKEN_TEXT = "token is invalid"
_AI_SDK = "ai-sdk/"
_STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.INVALID_PARAMS: 400,
    ErrorCode.MALFORMED_JSON: 400,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 400,
    ErrorCode.QUEUE_FULL: 429,
    ErrorCode.NO_WORKERS: 429,
}
"""Statuses that differ from those of the native API."""


class FormError(ApiError):
    """An error that is rendered as a form."""


@contextmanager
def form_errors(request: Request) -> Iterator[None]:
    """Render errors of the block as forms if :func:`wants_form_errors` says so."""
    try:
        yield
    except (ApiError, InvalidTicket, QueueFull, GatewayStops) as error:
        if not wants_form_errors(request):
            raise
        known = to_api_error(error)
        raise FormError(known.code, known.detail, known.problems, known.headers) from error


def wants_form_errors(request: Request) -> bool:
    """Whether the request is a form, and its client parses errors in forms; Vercel's AI SDK parses errors as JSON."""
    is_ai_sdk = _AI_SDK in request.headers.get("user-agent", "")
    return is_form(request.headers) and accepts_form(accept_of(request)) and not is_ai_sdk


def accept_of(request: Request) -> str:
    """The Accept headers of the request, joined."""
    return ",".join(request.headers.getlist("accept"))


def render_error(error: ApiError, request_id: str) -> Response:
    """``error`` as JSON or as a form; the job in the form has the request's id, because no job exists."""
    status = _STATUS.get(error.code, error.code.status)
    if error.code is ErrorCode.UNAUTHORIZED:
        return PlainTextResponse(TOKEN_TEXT, status, error.headers)
    if isinstance(error, FormError):
        return form_response({"id": request_id, "error": error.detail}, status=status, headers=error.headers)
    return json_response({"error": error.detail}, status, error.headers)


DIALECT = Dialect(re.compile(r"/v2/(job|types)(/|$)"), render_error)


def with_bound(problem: FieldProblem, config: Mapping[str, Any]) -> FieldProblem:
    """``problem`` with the bound that a number exceeds in Prodia's words: ``maximum: got 1,000, want 150``."""
    value, low, high = config.get(problem.field), problem.low, problem.high
    if problem.code is not ProblemCode.OUT_OF_RANGE or isinstance(value, bool) or not isinstance(value, int | float):
        return problem
    if high is not None and value > high:
        bound = f"maximum: got {_shown(value)}, want {_shown(high)}"
    elif low is not None and value < low:
        bound = f"minimum: got {_shown(value)}, want {_shown(low)}"
    else:
        return problem
    return replace(problem, message=f"{bound} ({problem.message})")


def _shown(value: float) -> str:
    is_whole = isinstance(value, int) or value.is_integer()
    return f"{int(value):,}" if is_whole else f"{value:,}"
