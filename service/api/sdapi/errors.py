"""Errors as A1111 tells them: FastAPI's list for a request that cannot be done, four texts for everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from models.errors import FieldProblem
from models.jobs.records import JobRecord, JobStatus
from service.api.errors import ApiError, Dialect, ErrorCode

_PLACE, _INDEX = re.compile(r"[^.\[\]]+"), re.compile(r"[0-9]{1,6}")
_NOT_ALLOWED = "Incorrect username or password"
_INVALID = (ErrorCode.INVALID_PARAMS, ErrorCode.MALFORMED_JSON)
_CLIENTS_FAULT = "input_unavailable"


class SdError(ApiError):
    """An error that A1111 raises itself, with its own status and words."""

    def __init__(self, status: int, detail: str, *, name: str = "HTTPException") -> None:
        super().__init__(ErrorCode.INVALID_PARAMS, detail)
        self.status = status
        self.name = name


class InvalidField(BaseModel):
    """What is wrong with one field."""

    loc: list[str | int] = Field(description="Where it is: `body`, then the field's name.")
    msg: str
    type: str


class InvalidRequest(BaseModel):
    """A request that cannot be done, as FastAPI tells it."""

    detail: list[InvalidField]


class ErrorTexts(BaseModel):
    """Any other error."""

    error: str
    detail: str
    body: str
    errors: str


def render_error(error: ApiError, request_id: str) -> Response:
    """The error as A1111's clients parse it."""
    if isinstance(error, SdError):
        return _texts(error.status, error.name, error.detail, error.headers)
    if error.code is ErrorCode.UNAUTHORIZED:
        return _texts(error.code.status, "HTTPException", _NOT_ALLOWED, error.headers)
    if error.code in _INVALID:
        problems = error.problems or (FieldProblem("", error.detail),)
        return as_json({"detail": [_invalid(problem) for problem in problems]}, 422, error.headers)
    return _texts(error.code.status, error.code.title, error.detail, error.headers)


def _texts(status: int, name: str, detail: str, headers: Mapping[str, str]) -> Response:
    return as_json({"error": name, "detail": detail, "body": "", "errors": detail}, status, headers)


def _invalid(problem: FieldProblem) -> dict[str, Any]:
    parts = [int(part) if _INDEX.fullmatch(part) else part for part in _PLACE.findall(problem.field)]
    return {"loc": parts if parts[:1] == ["body"] else ["body", *parts], "msg": problem.message, "type": "value_error"}


def as_json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``content`` in ASCII only: a client may have sent us half of a surrogate pair, which is given back."""
    return Response(json.dumps(content), status, headers, "application/json")


DIALECT = Dialect(re.compile(r"/(sdapi|controlnet|internal)/"), render_error)


def failed_job(record: JobRecord) -> ApiError:
    """The error for a job that failed, which a client may have caused by a link that leads nowhere."""
    assert record.status is JobStatus.FAILED
    code = record.error_code or "failed"
    message = record.error_message or code
    if code == _CLIENTS_FAULT:
        return ApiError(ErrorCode.INVALID_PARAMS, message, [FieldProblem("body", message)])
    return SdError(500, message, name=code)


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The page's entries for the errors of a route."""
    return {status: _ANSWERS[status] for status in statuses}


def _answer(status: int, summary: str, name: str, detail: str) -> dict[str, Any]:
    example = {"error": name, "detail": detail, "body": "", "errors": detail}
    return {"model": ErrorTexts, "description": summary, "content": {"application/json": {"example": example}}}


_INVALID_EXAMPLE = {"detail": [{"loc": ["body", "steps"], "msg": "must be from 1 to 150", "type": "value_error"}]}
_ANSWERS: Mapping[int, dict[str, Any]] = {
    400: _answer(400, "There is no such sampler.", "HTTPException", "Sampler not found"),
    401: _answer(401, "No key, or an unknown one.", "HTTPException", _NOT_ALLOWED),
    404: _answer(404, "There is no image to start from.", "HTTPException", "Init image not found"),
    413: _answer(413, "The body is too large.", "Body Too Large", "a body may have at most 67108864 bytes"),
    422: {
        "model": InvalidRequest,
        "description": "The request cannot be done, or an image cannot be fetched.",
        "content": {"application/json": {"example": _INVALID_EXAMPLE}},
    },
    500: _answer(500, "The image could not be drawn.", "out_of_memory", "the job does not fit the device"),
    503: _answer(503, "Too many jobs wait, or Redis is away.", "Queue Full", "10000 jobs are waiting already"),
}
READING = answers(401, 503)
"""Of a route that only reads."""
DRAWING = answers(400, 401, 404, 413, 422, 500, 503)
"""Of a route that waits for jobs."""
