"""Strict parsing of JSON bodies: UTF-8, finite numbers, no key twice, and only the fields of a pydantic model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request

from models.errors import InvalidTicket
from service.api.errors import ApiError, ErrorCode
from service.api.validation import field_problems

_Body = TypeVar("_Body", bound=BaseModel)
_T = TypeVar("_T")
_LARGE_BYTES = 1 << 18
"""Bodies of at least this size are parsed in a thread, because parsing them would block other requests."""


def require_json_type(headers: Headers) -> None:
    """Raise :class:`ApiError` (415) unless ``Content-Type`` is ``application/json`` or ``application/...+json``."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "the body must be sent as application/json")


async def read_body(request: Request, model: type[_Body]) -> _Body:
    """The request's body as ``model``.

    Raises:
        ApiError: the body is not JSON.
        InvalidTicket: the body is JSON and does not fit ``model``.
    """
    return await parsed(await request.body(), lambda body: validated(model, parse_json(body)))


async def parsed(body: bytes, parse: Callable[[bytes], _T]) -> _T:
    """The result of ``parse``, which runs in a thread if ``body`` is so large that it would block other requests."""
    return parse(body) if len(body) < _LARGE_BYTES else await run_in_threadpool(parse, body)


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


def parse_json(body: bytes) -> Any:
    """The value in ``body``; raises :class:`ApiError` for anything that is not strictly JSON in UTF-8."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        reason = "it is nested too deeply"
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except ValueError as error:
        reason = str(error)
    raise ApiError(ErrorCode.MALFORMED_JSON, f"the body cannot be read: {reason}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same name twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
