"""Errors as A1111's API sends them: FastAPI's list for an invalid request, an object of four texts otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from models.errors import FieldProblem, ProblemCode
from models.jobs.records import JobRecord, JobStatus
from service.api.errors import ApiError, Dialect, ErrorCode
from service.api.responses import json_response

_PLACE, _INDEX = re.compile(r"[^.\[\]]+"), re.compile(r"[0-9]{1,6}")
_NOT_ALLOWED = "Incorrect username or password"
_INVALID = (ErrorCode.INVALID_PARAMS, ErrorCode.MALFORMED_JSON)
_CAUSED_BY_REQUEST = "input_unavailable"


class SdError(ApiError):
    """An error that A1111 itself raises, with its own status and text."""

    def __init__(self, status: int, detail: str, *, name: str = "HTTPException") -> None:
        super().__init__(ErrorCode.INVALID_PARAMS, detail)
        self.status = status
        self.name = name


class InvalidField(BaseModel):
    """What is wrong with one field."""

    loc: list[str | int] = Field(description="The path of the field: `body`, then its name.")
    msg: str
    type: str


class InvalidRequest(BaseModel):
    """An invalid request, in the shape of FastAPI."""

    detail: list[InvalidField]


class ErrorTexts(BaseModel):
    """Any other error."""

    error: str
    detail: str
    body: str
    errors: str


def render_error(error: ApiError, request_id: str) -> Response:
    if isinstance(error, SdError):
        return _texts(error.status, error.name, error.detail, error.headers)
    if error.code is ErrorCode.UNAUTHORIZED:
        return _texts(error.code.status, "HTTPException", _NOT_ALLOWED, error.headers)
    if error.code in _INVALID:
        problems = error.problems or (FieldProblem("", error.detail, ProblemCode.MALFORMED),)
        return json_response({"detail": [_invalid(problem) for problem in problems]}, 422, error.headers)
    return _texts(error.code.status, error.code.title, error.detail, error.headers)


def _texts(status: int, name: str, detail: str, headers: Mapping[str, str]) -> Response:
    return json_response({"error": name, "detail": detail, "body": "", "errors": detail}, status, headers)


def _invalid(problem: FieldProblem) -> dict[str, Any]:
    parts = [int(part) if _INDEX.fullmatch(part) else part for part in _PLACE.findall(problem.field)]
    return {"loc": parts if parts[:1] == ["body"] else ["body", *parts], "msg": problem.message, "type": "value_error"}


DIALECT = Dialect(re.compile(r"/(sdapi|controlnet|internal)/"), render_error)


def failed_job(record: JobRecord, wire_name: Callable[[str], str]) -> ApiError:
    """The error for a job that failed; 422 if an image of the request is to blame.

    Args:
        wire_name: gives A1111's name for a parameter.
    """
    assert record.status is JobStatus.FAILED
    code = record.error_code or "failed"
    message = record.error_message or code
    if code == _CAUSED_BY_REQUEST or record.error_field is not None:
        field = "body" if record.error_field is None else wire_name(record.error_field)
        return ApiError(ErrorCode.INVALID_PARAMS, message, [FieldProblem(field, message, ProblemCode.UNAVAILABLE)])
    return SdError(500, message, name=code)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries for errors with these statuses."""
    return {status: _RESPONSES[status] for status in statuses}


def _response(status: int, summary: str, name: str, detail: str) -> dict[str, Any]:
    example = {"error": name, "detail": detail, "body": "", "errors": detail}
    return {"model": ErrorTexts, "description": summary, "content": {"application/json": {"example": example}}}


_INVALID_EXAMPLE = {"detail": [{"loc": ["body", "steps"], "msg": "must be from 1 to 150", "type": "value_error"}]}
_RESPONSES: Mapping[int, dict[str, Any]] = {
    400: _response(400, "There is no such sampler.", "HTTPException", "Sampler not found"),
    401: _response(401, "The API key is missing or unknown.", "HTTPException", _NOT_ALLOWED),
    402: _response(
        402, "The quota of the API key is used up.", "Quota Exceeded", "this API key may use 100 cost units"
    ),
    403: _response(403, "The API key may not do this.", "Missing Scope", "this API key needs the scope submit"),
    404: _response(404, "The request has no image.", "HTTPException", "Init image not found"),
    413: _response(413, "The body is too large.", "Body Too Large", "a body may have at most 67108864 bytes"),
    422: {
        "model": InvalidRequest,
        "description": "The request is invalid, or an image cannot be fetched.",
        "content": {"application/json": {"example": _INVALID_EXAMPLE}},
    },
    429: _response(429, "A limit of the API key is reached.", "Too Many Requests", "this API key may submit 60 times"),
    500: _response(500, "The job failed.", "out_of_memory", "the job does not fit the device"),
    503: _response(
        503, "Too many jobs are queued, or Redis cannot be reached.", "Queue Full", "10000 jobs are waiting already"
    ),
}
READING = responses(401, 503)
QUERYING = responses(401, 422, 503)
SENDING_JSON = responses(401, 413, 422, 503)
STOPPING = responses(401, 403, 503)
CHANGING = responses(401, 403, 413, 422, 503)
SUBMITTING = responses(400, 401, 402, 403, 404, 413, 422, 429, 500, 503)
"""The errors of a route that submits jobs and waits for them."""
