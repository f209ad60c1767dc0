"""Turns responses into typed objects, or into the error that the server's problem document describes."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from ._errors import (
    APIError,
    AuthenticationError,
    Conflict,
    FieldProblem,
    InvalidParams,
    LanguageUnavailable,
    NoProposal,
    NotFound,
    PermissionDenied,
    PhotogramError,
    Problem,
    ServerError,
    ServiceUnavailable,
    TooManyRequests,
    UnexpectedResponse,
)
from ._models import Payload

T = TypeVar("T")

_BY_STATUS: dict[int, type[APIError]] = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    422: InvalidParams,
    429: TooManyRequests,
    503: ServiceUnavailable,
}

# These codes have their own error class, because their status has several meanings.
_BY_CODE: dict[str, type[APIError]] = {
    "language_unavailable": LanguageUnavailable,
    "no_proposal": NoProposal,
}

# The exceptions of a reader whose payload has an unexpected shape.
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


def read(response: httpx2.Response, reader: Callable[[Payload], T]) -> T:
    """Read a successful response; raises UnexpectedResponse if it is not JSON of the expected shape."""
    try:
        return reader(response.json())
    except _MALFORMED as error:
        raise UnexpectedResponse(f"{response.request.url} did not answer as Photogram does: {_why(error)}") from error


def read_event(reader: Callable[[str], T], data: str) -> T:
    """Read the data of one event; raises UnexpectedResponse like `read`."""
    try:
        return reader(data)
    except _MALFORMED as error:
        raise UnexpectedResponse(f"an event of the stream cannot be read: {_why(error)}") from error


def error_of(response: httpx2.Response) -> PhotogramError:
    """The error for an unsuccessful response, whose body must have been read."""
    if response.status_code < 400:
        target = response.headers.get("location", "nowhere")
        return UnexpectedResponse(f"{response.request.url} answered {response.status_code} and points to {target}")
    fallback = ServerError if response.status_code >= 500 else APIError
    problem = _problem_of(response)
    kind = _BY_CODE.get(problem.code) or _BY_STATUS.get(response.status_code, fallback)
    return kind(problem)


def retry_after_s(headers: httpx2.Headers) -> float | None:
    """Seconds from a Retry-After header, which is a number or a date; None if it is missing or invalid."""
    text = headers.get("retry-after")
    if text is None:
        return None
    try:
        if text.strip().isdecimal():
            return float(text)
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _problem_of(response: httpx2.Response) -> Problem:
    document = _document_of(response)
    reason = response.reason_phrase or f"HTTP {response.status_code}"
    detail = document.get("detail") or document.get("title")
    return Problem(
        status=response.status_code,
        code=str(document.get("code") or f"http_{response.status_code}"),
        detail=detail if isinstance(detail, str) else reason,
        problems=_field_problems(document.get("errors")),
        retry_after_s=retry_after_s(response.headers),
    )


def _document_of(response: httpx2.Response) -> Payload:
    # A proxy's error page is not JSON; the status is still useful.
    try:
        document = response.json()
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _field_problems(entries: list[dict[str, Any]] | None) -> tuple[FieldProblem, ...]:
    try:
        return tuple(FieldProblem(str(entry["field"]), str(entry["message"])) for entry in entries or ())
    except _MALFORMED:
        return ()


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
