"""Errors as OpenAI's API sends them: one object, with the wrong parameter and a code for programs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import ErrorDetails
from starlette.responses import Response

from models.errors import ContentRefused
from models.jobs.records import JobRecord
from service.api.errors import ApiError, Dialect, ErrorCode
from service.api.validation import field_problems

INVALID_REQUEST, SERVER_ERROR = "invalid_request_error", "server_error"
MODEL_NOT_FOUND = "model_not_found"
_INVALID_VALUE = "invalid_value"
_DONT_RETRY = {"x-should-retry": "false"}
"""OpenAI's clients retry after a 5xx without this header; a job that failed would fail again."""

_RENDERED: Mapping[ErrorCode, tuple[int, str, str]] = {
    ErrorCode.MALFORMED_JSON: (400, INVALID_REQUEST, "malformed_body"),
    ErrorCode.INVALID_PARAMS: (400, INVALID_REQUEST, _INVALID_VALUE),
    ErrorCode.UNAUTHORIZED: (401, INVALID_REQUEST, "invalid_api_key"),
    ErrorCode.METHOD_NOT_ALLOWED: (405, INVALID_REQUEST, "method_not_supported"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: (415, INVALID_REQUEST, "unsupported_content_type"),
    ErrorCode.QUEUE_FULL: (429, "rate_limit_error", "rate_limit_exceeded"),
    ErrorCode.RATE_LIMITED: (429, "rate_limit_error", "rate_limit_exceeded"),
    ErrorCode.TOO_MANY_JOBS: (429, "rate_limit_error", "rate_limit_exceeded"),
    ErrorCode.QUOTA_EXCEEDED: (402, "insufficient_quota", "insufficient_quota"),
}
"""Status, type and code of errors that differ from those of the native API."""

_CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}
"""OpenAI's codes by pydantic's type of error."""


class OpenAiError(ApiError):
    """An error with OpenAI's own fields.

    Args:
        param: the wrong parameter, if one is.
        code: OpenAI's code.
    """

    def __init__(self, message: str, *, param: str | None, code: str = _INVALID_VALUE, status: int = 400) -> None:
        super().__init__(ErrorCode.INVALID_PARAMS, message)
        self.param = param
        self.status = status
        self.type = INVALID_REQUEST if status < 500 else SERVER_ERROR
        self.wire_code = code
        if status >= 500:
            self.headers.update(_DONT_RETRY)


class ErrorDescription(BaseModel):
    """The content of OpenAI's error object."""

    message: str
    type: str
    param: str | None = Field(description="The wrong parameter, if one is.")
    code: str | None


class ErrorBody(BaseModel):
    """OpenAI's error object."""

    error: ErrorDescription


def describe(error: ApiError) -> tuple[int, ErrorDescription]:
    """The status of ``error`` and its description."""
    if isinstance(error, OpenAiError):
        return error.status, _description(error.detail, error.type, error.param, error.wire_code)
    default = (error.code.status, INVALID_REQUEST if error.code.status < 500 else SERVER_ERROR, error.code.wire)
    status, type_, code = _RENDERED.get(error.code, default)
    param = error.problems[0].field if error.problems else None
    return status, _description(error.detail, type_, param, code)


def _description(message: str, type_: str, param: str | None, code: str) -> ErrorDescription:
    return ErrorDescription.model_construct(message=message, type=type_, param=param, code=code)


def render_error(error: ApiError, request_id: str) -> Response:
    status, description = describe(error)
    return Response(error_json(description), status, error.headers, "application/json")


def error_json(description: ErrorDescription) -> str:
    """The error object as JSON in ASCII: a message may quote half of a surrogate pair, which UTF-8 cannot encode."""
    return json.dumps({"error": dict(description)})


DIALECT = Dialect(re.compile(r"/v1/images/(?!(?:search|duplicates)$)|/v1/models/(?!list$)"), render_error)


def invalid_fields(errors: Iterable[ErrorDetails]) -> OpenAiError:
    """The error for pydantic's validation errors of a body; the first one decides ``param`` and ``code``."""
    found = list(errors)
    problems = field_problems(found)
    message = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
    return OpenAiError(message, param=problems[0].field, code=_CODES.get(found[0]["type"], _INVALID_VALUE))


def failed_job(record: JobRecord, wire_name: Callable[[str], str]) -> OpenAiError:
    """The error for a job that failed or was canceled; 400 if an image of the request is to blame.

    Args:
        wire_name: gives OpenAI's name for a parameter.
    """
    code = record.error_code or record.status.value
    message = record.error_message or f"the job was {code}"
    if code == ContentRefused.code:
        return OpenAiError(message, param=None, code="moderation_blocked")
    if record.error_field is None:
        return OpenAiError(message, param=None, code=code, status=500)
    param = wire_name(record.error_field)
    return OpenAiError(f"{param}: {message}", param=param)


def refused(reasons: Mapping[str, str], given: Iterable[str]) -> None:
    """Raise :class:`OpenAiError` for the first of the fields ``given`` that is not supported.

    Args:
        reasons: why a field is not supported, by its name.
    """
    for name in given:
        if name in reasons:
            raise OpenAiError(f"{name}: {reasons[name]}", param=name, code="unsupported_parameter")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries for errors with these statuses."""
    return {status: _response(*_EXAMPLES[status]) for status in statuses}


def _response(summary: str, message: str, type_: str, param: str | None, code: str) -> dict[str, Any]:
    example = {"error": {"message": message, "type": type_, "param": param, "code": code}}
    return {"model": ErrorBody, "description": summary, "content": {"application/json": {"example": example}}}


_EXAMPLES: Mapping[int, Sequence[Any]] = {
    400: ("The request is invalid.", "n: must be at most 10", INVALID_REQUEST, "n", _INVALID_VALUE),
    401: ("The API key is missing or unknown.", "this API key is not known", INVALID_REQUEST, None, "invalid_api_key"),
    402: ("The quota of the API key is used up.", "this API key may use 100 cost units a day (UTC)",
          "insufficient_quota", None, "insufficient_quota"),
    403: ("The API key may not do this.", "this API key needs the scope submit", INVALID_REQUEST, None,
          "missing_scope"),
    404: ("There is no such model.", "there is no model 'x'", INVALID_REQUEST, "model", MODEL_NOT_FOUND),
    413: ("The body is too large.", "a body may have at most 67108864 bytes", INVALID_REQUEST, None, "body_too_large"),
    415: ("The Content-Type is wrong.", "the body must be sent as application/json", INVALID_REQUEST, None,
          "unsupported_content_type"),
    429: ("Too many jobs are queued.", "10000 jobs wait already", "rate_limit_error", None, "rate_limit_exceeded"),
    500: ("The job failed.", "the model cannot be loaded", SERVER_ERROR, None, "model_unavailable"),
    503: ("The server cannot do this now.", "the ledger cannot be reached; try again soon", SERVER_ERROR, None,
          "ledger_unavailable"),
}  # fmt: skip
