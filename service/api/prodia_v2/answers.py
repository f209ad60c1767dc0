"""Answers in Prodia v2's forms: the multipart form that its clients can parse, the bare image, and errors."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from models.errors import InvalidTicket
from service.api.errors import ApiError, Dialect, ErrorCode, to_api_error
from service.api.multipart import FORM, is_form
from service.api.prodia_v2.accept import JSON, accepts_form
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
"""Where Prodia answers with another status than the native dialect."""


class FormError(ApiError):
    """An error that is told as a form, for a client that sent one."""


@contextmanager
def told_in_kind(request: Request) -> Iterator[None]:
    """Have errors of the request told as a form if it is one, and its Accept header does not exclude that."""
    try:
        yield
    except (ApiError, InvalidTicket, QueueFull) as error:
        if not wants_form_errors(request):
            raise
        known = to_api_error(error)
        raise FormError(known.code, known.detail, known.problems, known.headers) from error


def wants_form_errors(request: Request) -> bool:
    """Whether the request is a form, and its client can read one as an error; Vercel's AI SDK reads errors as JSON."""
    is_ai_sdk = _AI_SDK in request.headers.get("user-agent", "")
    return is_form(request.headers) and accepts_form(accept_of(request)) and not is_ai_sdk


def accept_of(request: Request) -> str:
    """The Accept header, its lines joined."""
    return ",".join(request.headers.getlist("accept"))


def render_error(error: ApiError, request_id: str) -> Response:
    """``error`` as Prodia tells it; the form's job has the request's id, for there is no job."""
    status = _STATUS.get(error.code, error.code.status)
    if error.code is ErrorCode.UNAUTHORIZED:
        return PlainTextResponse(TOKEN_TEXT, status, error.headers)
    if isinstance(error, FormError):
        return form_response({"id": request_id, "error": error.detail}, status=status, headers=error.headers)
    return json_response({"error": error.detail}, status=status, headers=error.headers)


DIALECT = Dialect(re.compile(r"/v2/(job|types)(/|$)"), render_error)


def json_response(document: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``document`` as JSON in ASCII: a client may have sent us half of a surrogate pair."""
    return Response(json.dumps(document), status, headers, JSON)


def form_response(
    job: Mapping[str, Any],
    output: tuple[str, str, bytes] | None = None,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The form with the job, and with its image if there is one: filename, media type and bytes.

    Its shape is what both Prodia's own client and Vercel's AI SDK can parse: CRLF, a boundary without quotes, and a
    filename on each part.
    """
    boundary = f"photogram-{uuid.uuid4().hex}"
    parts = _part(boundary, "job", ("job.json", JSON, json.dumps(job).encode()))
    if output is not None:
        parts += _part(boundary, "output", output)
    body = parts + f"--{boundary}--\r\n".encode()
    return Response(body, status, headers, f"{FORM}; boundary={boundary}")


def _part(boundary: str, name: str, content: tuple[str, str, bytes]) -> bytes:
    filename, media_type, data = content
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    return head.encode() + data + b"\r\n"
