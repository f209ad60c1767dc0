"""Errors as Prodia's v1 tells them: its own words as plain text, and the reason in a header for people who look."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from service.api.documentation import texts
from service.api.errors import ApiError, Dialect, ErrorCode

INVALID = "Invalid Generation Parameters"
REASON_HEADER = "X-Photogram-Reason"
_REASON_MAX_CHARS = 500
_INVALID_CODES = (ErrorCode.INVALID_PARAMS, ErrorCode.MALFORMED_JSON)
_PATHS = re.compile(
    r"/v1(?:$|/(?:sd|sdxl|job|transform|controlnet|upscale|faceswap|facerestore|photomaker|models/list)(?:/|$))"
    r"|/generate$|/job/"
)


def render_error(error: ApiError, request_id: str) -> Response:
    """The error as Prodia tells it."""
    status, text = _words(error.code)
    return Response(text, status, {**error.headers, **reason(error.detail)}, "text/plain")


def _words(code: ErrorCode) -> tuple[int, str]:
    return (400, INVALID) if code in _INVALID_CODES else (code.status, code.title)


def told(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI page's entries for these errors."""
    return texts(*map(_words, codes))


DIALECT = Dialect(_PATHS, render_error)


def reason(text: str) -> dict[str, str]:
    """A header that carries ``text`` in printable ASCII."""
    plain = text.encode("ascii", "backslashreplace").decode()
    return {REASON_HEADER: re.sub(r"[^ -~]+", " ", plain)[:_REASON_MAX_CHARS].strip()}
