"""Receiving and strict parsing of JSON bodies: within limits, and only with the fields of a pydantic model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request

from models.errors import InvalidTicket
from service.api.errors import ApiError, ErrorCode
from service.api.validation import field_problems
from service.strict_json import DEFAULT_LIMITS, JsonGauge, JsonLimits, JsonTooLong, NotStrictJson, parse

_Body = TypeVar("_Body", bound=BaseModel)
_T = TypeVar("_T")
_LARGE_BYTES = 1 << 16
"""Bodies of at least this size are parsed in a thread, because parsing them would block other requests."""
_PARSING_THREADS = 2
_LENGTH_MAX_DIGITS = 18
_parsing: RunVar[CapacityLimiter] = RunVar("parsing")
"""Limits the threads that parse large bodies, for each event loop."""


def require_json_type(headers: Headers) -> None:
    """Raise :class:`ApiError` (415) unless ``Content-Type`` is ``application/json`` or ``application/...+json``."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "the body must be sent as application/json")


async def read_body(request: Request, model: type[_Body], *, has_images: bool = False) -> _Body:
    """The request's body as ``model``; ``has_images`` says whether the body may hold images in Base64.

    Raises:
        ApiError: the body is not JSON, or too large.
        InvalidTicket: the body is JSON and does not fit ``model``.
    """
    return await _as_model(await received_json(request, has_images=has_images), model)


async def read_optional_body(request: Request, model: type[_Body]) -> _Body:
    """As :func:`read_body`, for JSON that may be left out: no body is one without fields.

    Raises:
        ApiError: as :func:`read_body`, and if the body is not sent as JSON.
        InvalidTicket: as :func:`read_body`.
    """
    body = await received_json(request)
    if not body:
        return model()
    require_json_type(request.headers)
    return await _as_model(body, model)


async def _as_model(body: bytes, model: type[_Body]) -> _Body:
    return await parsed(body, lambda body: validated(model, parse_json(body)))


async def received_json(request: Request, *, has_images: bool = False, limits: JsonLimits = DEFAULT_LIMITS) -> bytes:
    """The request's body, which is refused while it arrives if it is larger than JSON of this route may be.

    A body without images may have ``JsonLimits.short_bytes``; one with images may have ``PHOTOGRAM_MAX_BODY_BYTES``, of
    which the part besides the images may have ``JsonLimits.short_bytes``.

    Raises:
        ApiError: the body is too large, or has too many values.
    """
    gauge, short_bytes = JsonGauge(limits), limits.short_bytes
    if not has_images:
        refuse_declared(request.headers, short_bytes)
    body, measured = bytearray(), 0
    async for chunk in request.stream():
        body += chunk
        if len(body) > short_bytes:
            if not has_images:
                raise too_large(short_bytes)
            with _json_errors():
                gauge.feed(bytes(body[measured:]))
            measured = len(body)
    return bytes(body)


def refuse_declared(headers: Headers, max_bytes: int) -> None:
    """Raise :class:`ApiError` (413) if ``Content-Length`` is above ``max_bytes``."""
    if declared_bytes(headers) > max_bytes:
        raise too_large(max_bytes)


def declared_bytes(headers: Headers) -> int:
    """``Content-Length``; 0 without it."""
    text = headers.get("content-length", "")
    return int(text[:_LENGTH_MAX_DIGITS]) if text.isascii() and text.isdecimal() else 0


def too_large(max_bytes: int) -> ApiError:
    """The error for a body of more than ``max_bytes``."""
    return ApiError(ErrorCode.BODY_TOO_LARGE, f"a body may have at most {max_bytes} bytes")


async def parsed(body: bytes, parse: Callable[[bytes], _T]) -> _T:
    """The result of ``parse``, which runs in a thread if ``body`` is so large that it would block other requests.

    Only a few threads parse at the same time: they take turns with the event loop, which answers everybody.
    """
    if len(body) < _LARGE_BYTES:
        return parse(body)
    return await to_thread.run_sync(parse, body, limiter=_limiter())


def _limiter() -> CapacityLimiter:
    try:
        return _parsing.get()
    except LookupError:
        limiter = CapacityLimiter(_PARSING_THREADS)
        _parsing.set(limiter)
        return limiter


def validated(model: type[_Body], document: object, prefix: str = "") -> _Body:
    """``document``, a value parsed from JSON, as ``model``.

    Args:
        prefix: the path of ``document`` in the whole body, ending in a dot if it is not empty.

    Raises:
        InvalidTicket: ``document`` does not fit ``model``.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = field_problems(error.errors(include_url=False, include_input=False))
        raise InvalidTicket([each.renamed(prefix + each.field) for each in found]) from error


def parse_json(body: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> Any:
    """The value in ``body``; raises :class:`ApiError` unless it is strictly JSON within the limits."""
    with _json_errors():
        return parse(body, limits)


@contextmanager
def _json_errors() -> Iterator[None]:
    try:
        yield
    except JsonTooLong as error:
        raise ApiError(ErrorCode.BODY_TOO_LARGE, str(error)) from error
    except NotStrictJson as error:
        raise ApiError(ErrorCode.MALFORMED_JSON, f"the body cannot be read: {error}") from error
