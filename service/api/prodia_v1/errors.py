"""Errors as Prodia's API v1 sends them: fixed plain texts, with the reason in a header."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from service.api.documentation import text_errors
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
    status, text = _status_and_text(error.code)
    return Response(text, status, {**error.headers, **reason(error.detail)}, "text/plain")


def _status_and_text(code: ErrorCode) -> tuple[int, str]:
    return (400, INVALID) if code in _INVALID_CODES else (code.status, code.title)


def responses(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries for errors with these codes."""
    return text_errors(*map(_status_and_text, codes))


DIALECT = Dialect(_PATHS, render_error)


def reason(text: str) -> dict[str, str]:
    """A header with ``text`` in printable ASCII, cut off after 500 characters."""
    plain = text.encode("ascii", "backslashreplace").decode()
    return {REASON_HEADER: re.sub(r"[^ -~]+", " ", plain)[:_REASON_MAX_CHARS].strip()}
