"""Errors of the HTTP API: their codes and statuses, and their native form, problem details (RFC 9457).

PhotogramError
└── ApiError              an error response; its code decides the HTTP status

A dialect renders an :class:`ApiError` in its own shape, with a :class:`Dialect` that ``app`` gives to the
:class:`ErrorRenderer`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from re import Pattern
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from models.errors import (
    FieldProblem,
    InvalidFields,
    InvalidTicket,
    PhotogramError,
    ProblemCode,
    StorageUnavailable,
)
from service.api.paths import allowed_methods, route_of
from service.api.rate_limits import RETRY_AFTER_S, rate_limit_fields
from service.api.stopping import GatewayStops
from service.api.validation import PROBLEMS_MAX, field_problems
from service.backbone.admission import AlreadyUsed, QueueFull
from service.backbone.allowances import LimitReached, Remainder
from service.backbone.connections import write_refusal
from service.backbone.key_store import KeyInUse, KeyNotFound
from service.backbone.logs import told
from service.backbone.webhooks.endpoints import TooManyWebhooks, WebhookNotFound, WebhooksForbidden
from service.jobs.errors import FileGone, ImageGone, JobNotFound, NotAsked

PROBLEM_TYPE = "application/problem+json"
_DETAIL_MAX_CHARS = 1000

_log = logging.getLogger(__name__)


class ErrorCode(Enum):
    """Every way in which a request can fail, with its HTTP status and title; ``docs/errors.md`` explains each."""

    MALFORMED_JSON = (422, "Malformed JSON")
    INVALID_PARAMS = (422, "Invalid Parameters")
    UNAUTHORIZED = (401, "Key Not Recognised")
    QUOTA_EXCEEDED = (402, "Quota Exceeded")
    MISSING_SCOPE = (403, "Missing Scope")
    WEBHOOKS_FORBIDDEN = (403, "Webhooks Forbidden")
    FOREIGN_ORIGIN = (403, "Foreign Origin")
    NOT_FOUND = (404, "Not Found")
    KEY_NOT_FOUND = (404, "Key Not Found")
    WEBHOOK_NOT_FOUND = (404, "Webhook Not Found")
    JOB_NOT_FOUND = (404, "Job Not Found")
    IMAGE_NOT_FOUND = (404, "Image Not Found")
    FILE_NOT_FOUND = (404, "File Not Found")
    METHOD_NOT_ALLOWED = (405, "Method Not Allowed")
    REQUEST_TIMEOUT = (408, "Request Timeout")
    ALREADY_USED = (409, "Already Used")
    KEY_IN_USE = (409, "Key In Use")
    NOT_ASKED = (409, "Input Not Taken")
    TOO_MANY_WEBHOOKS = (409, "Too Many Webhooks")
    BODY_TOO_LARGE = (413, "Body Too Large")
    UNSUPPORTED_MEDIA_TYPE = (415, "Unsupported Media Type")
    UNKNOWN_HOST = (421, "Unknown Host")
    NO_PROPOSAL = (422, "No Proposal")
    RATE_LIMITED = (429, "Too Many Requests")
    TOO_MANY_JOBS = (429, "Too Many Jobs")
    TOO_MANY_WRONG_KEYS = (429, "Too Many Wrong Keys")
    INTERNAL_ERROR = (500, "Internal Error")
    OVERLOADED = (503, "Overloaded")
    QUEUE_FULL = (503, "Queue Full")
    LEDGER_UNAVAILABLE = (503, "Ledger Unavailable")
    STORAGE_UNAVAILABLE = (503, "Storage Unavailable")
    NO_WORKERS = (503, "No Workers")
    LANGUAGE_UNAVAILABLE = (503, "Language Engine Unavailable")
    STOPPING = (503, "Server Stopping")

    def __init__(self, status: int, title: str) -> None:
        self.status = status
        self.title = title

    @property
    def wire(self) -> str:
        """The code as clients read it, in lower case."""
        return self.name.lower()


class ApiError(PhotogramError):
    """An error response, before a dialect renders it.

    Args:
        detail: what is wrong, for people; cut off after 1000 characters.
        problems: the fields that are wrong; at most 32 are kept.
        headers: further headers of the response.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        problems: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail[:_DETAIL_MAX_CHARS]
        self.problems = tuple(problems)[:PROBLEMS_MAX]
        self.headers = dict(headers or {})


_CODE_OF: Mapping[type[PhotogramError], ErrorCode] = {
    JobNotFound: ErrorCode.JOB_NOT_FOUND,
    ImageGone: ErrorCode.IMAGE_NOT_FOUND,
    FileGone: ErrorCode.FILE_NOT_FOUND,
    NotAsked: ErrorCode.NOT_ASKED,
    AlreadyUsed: ErrorCode.ALREADY_USED,
    KeyNotFound: ErrorCode.KEY_NOT_FOUND,
    KeyInUse: ErrorCode.KEY_IN_USE,
    TooManyWebhooks: ErrorCode.TOO_MANY_WEBHOOKS,
    WebhookNotFound: ErrorCode.WEBHOOK_NOT_FOUND,
    WebhooksForbidden: ErrorCode.WEBHOOKS_FORBIDDEN,
    QueueFull: ErrorCode.QUEUE_FULL,
    StorageUnavailable: ErrorCode.STORAGE_UNAVAILABLE,
}

_LIMITS: Mapping[str, ErrorCode] = {
    "requests_per_minute": ErrorCode.RATE_LIMITED,
    "max_in_flight": ErrorCode.TOO_MANY_JOBS,
    "max_queued": ErrorCode.TOO_MANY_JOBS,
    "units_per_day": ErrorCode.QUOTA_EXCEEDED,
    "units_per_month": ErrorCode.QUOTA_EXCEEDED,
    "stored_bytes": ErrorCode.QUOTA_EXCEEDED,
}
"""The code of each limit of an API key."""

Renderer = Callable[[ApiError, str], Response]
"""Renders an error and the request's id as a response in the shape of one dialect."""


@dataclass(frozen=True)
class Dialect:
    """The paths whose errors are not rendered as problem details, and what renders them."""

    paths: Pattern[str]
    render: Renderer


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str = Field(description="For people.")
    code: ProblemCode = Field(description="For programs.")
    low: float | None = Field(None, description="The smallest number, length or count that is allowed.")
    high: float | None = Field(None, description="The largest number, length or count that is allowed.")
    allowed: list[str | int] | None = Field(None, description="The values that are allowed, or the first few.")


class Problem(BaseModel):
    """An error as problem details (RFC 9457), with a code for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError] | None = None


class ErrorRenderer:
    """Renders any exception in the dialect of the request's path; problem details where no dialect matches."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self._dialects = dialects

    async def __call__(self, request: Request, error: Exception) -> Response:
        """The response for ``error``; errors that the client did not cause are logged."""
        known, request_id = to_api_error(error), request.state.request_id
        if known.code is ErrorCode.METHOD_NOT_ALLOWED:
            known.headers["Allow"] = allowed_methods(request.scope)
        if known.code is ErrorCode.INTERNAL_ERROR:
            _log.error("request %s failed", request_id, exc_info=error)
        elif known.code in (ErrorCode.LEDGER_UNAVAILABLE, ErrorCode.STORAGE_UNAVAILABLE):
            _log.warning("request %s: %s: %s", request_id, type(error).__name__, told(error))
        request.state.error_code = known.code.wire
        request.state.route = route_of(request.scope)
        path = request.scope["path"]
        renderers = (dialect.render for dialect in self._dialects if dialect.paths.match(path))
        return next(renderers, render_problem)(known, request_id)


def to_api_error(error: Exception) -> ApiError:
    """``error`` as an error response; an unknown exception becomes an internal error that reveals nothing."""
    match error:
        case ApiError():
            return error
        case InvalidFields():
            return ApiError(ErrorCode.INVALID_PARAMS, str(error), error.problems)
        case LimitReached():
            return _limit_reached(error)
        case GatewayStops():
            return unavailable(ErrorCode.STOPPING, str(error))
        case RequestValidationError() | HTTPException():
            return _from_framework(error)
        case PhotogramError() if type(error) in _CODE_OF:
            return _known(_CODE_OF[type(error)], str(error))
    outage = _ledger_outage(error)
    if outage is not None:
        return unavailable(ErrorCode.LEDGER_UNAVAILABLE, f"{outage}; try again soon")
    detail = "the server failed; its log has the error under the id of this request"
    return ApiError(ErrorCode.INTERNAL_ERROR, detail)


def _known(code: ErrorCode, detail: str) -> ApiError:
    return unavailable(code, detail) if code.status == ErrorCode.OVERLOADED.status else ApiError(code, detail)


def _ledger_outage(error: Exception) -> str | None:
    """What is wrong with Redis, if it cannot be reached or accepts no writes; no request causes that."""
    if isinstance(error, RedisConnectionError | RedisTimeoutError):
        return "the ledger cannot be reached"
    refusal = write_refusal(error)
    return None if refusal is None else f"the ledger accepts no writes: {refusal}"


def _from_framework(error: RequestValidationError | HTTPException) -> ApiError:
    if isinstance(error, RequestValidationError):
        return to_api_error(InvalidTicket(field_problems(error.errors(), skip=1)))
    if error.status_code == ErrorCode.NOT_FOUND.status:
        return ApiError(ErrorCode.NOT_FOUND, "there is no such route")
    if error.status_code == ErrorCode.METHOD_NOT_ALLOWED.status:
        return ApiError(ErrorCode.METHOD_NOT_ALLOWED, "this route has no such method")
    return ApiError(ErrorCode.INTERNAL_ERROR, "the request could not be processed")


def unavailable(code: ErrorCode, detail: str) -> ApiError:
    """A temporary error: ``Retry-After`` tells the client when to try again."""
    return ApiError(code, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def _limit_reached(error: LimitReached) -> ApiError:
    wait_s = error.wait_s or RETRY_AFTER_S
    fields = rate_limit_fields([Remainder(error.limit, error.high, error.left, wait_s)])
    return ApiError(_LIMITS[error.limit], str(error), headers={"Retry-After": str(wait_s), **fields})


@contextmanager
def renamed_problems(wire_name: Callable[[str], str]) -> Iterator[None]:
    """Raise the block's :class:`InvalidTicket` with the names that a dialect has for the fields."""
    try:
        yield
    except InvalidTicket as error:
        raise InvalidTicket([each.renamed(wire_name(each.field)) for each in error.problems]) from error


def invalid_field(field: str, message: str, code: ProblemCode) -> InvalidTicket:
    """The error for a request with one wrong field."""
    return InvalidTicket([FieldProblem(field, message, code)])


def render_problem(error: ApiError, request_id: str) -> Response:
    """``error`` as problem details (RFC 9457)."""
    # ASCII only: a message may quote half of a surrogate pair from the request, which UTF-8 cannot encode.
    body = json.dumps(problem_document(error, request_id))
    return Response(body, error.code.status, error.headers, PROBLEM_TYPE)


def problem_document(error: ApiError, request_id: str) -> dict[str, Any]:
    """The JSON object of the problem details."""
    body: dict[str, Any] = {
        "type": f"/docs/errors#{error.code.wire}",
        "title": error.code.title,
        "status": error.code.status,
        "detail": error.detail,
        "code": error.code.wire,
        "request_id": request_id,
    }
    if error.problems:
        body["errors"] = [_field_error(problem) for problem in error.problems]
    return body


def _field_error(problem: FieldProblem) -> dict[str, Any]:
    shown = {**asdict(problem), "message": problem.message[:_DETAIL_MAX_CHARS]}
    return {name: value for name, value in shown.items() if value is not None}
