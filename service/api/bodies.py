"""JSON bodies, read strictly: UTF-8, finite numbers, no name twice, and a wire model that says what may be in them."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request

from models.errors import InvalidTicket
from models.jobs.params import KINDS
from service.api.errors import ApiError, ErrorCode, field_problems

_Body = TypeVar("_Body", bound=BaseModel)
_LARGE_BYTES = 1 << 18
"""Bodies from here on are parsed in a thread, for they would hold up the others."""


def require_json_type(headers: Headers) -> None:
    """Refuse a body that does not say it is JSON.

    Raises:
        ApiError: with 415.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "the body must be sent as application/json")


async def read_body(request: Request, model: type[_Body]) -> _Body:
    """The request's body as ``model``.

    Raises:
        ApiError: the body is no JSON.
        InvalidTicket: the body is JSON, but not of the model's shape.
    """
    body = await request.body()
    if len(body) < _LARGE_BYTES:
        return _parse(body, model)
    return await run_in_threadpool(_parse, body, model)


def _parse(body: bytes, model: type[_Body]) -> _Body:
    document = parse_json(body)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidTicket(field_problems(map(_in_body, found))) from error


def _in_body(error: ErrorDetails) -> ErrorDetails:
    """``error`` with its place in the body: of bodies with a ``kind``, pydantic names the kind, and not the field."""
    if error["type"].startswith("union_tag_"):
        return error | {"loc": (*error["loc"], "kind"), "msg": f"must be one of {', '.join(KINDS)}"}
    if error["loc"][:1] and error["loc"][0] in KINDS:
        return error | {"loc": error["loc"][1:]}
    return error


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
