"""Reads a request's body: its size, its media type, strict JSON, and the schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from service.rwkv_server.errors import INVALID_VALUE, RequestError
from service.rwkv_server.schemas import NEUTRAL, REFUSED, CompletionBody
from service.strict_json import JsonTooLong, NotStrictJson, parse

_Body = TypeVar("_Body", bound=CompletionBody)
_PROBLEMS_MAX = 32
_FIELD_MAX_CHARS = 200
_MESSAGES = {"extra_forbidden": "there is no such field", "missing": "is required"}
_CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}


async def read(request: Request, model: type[_Body], max_bytes: int) -> _Body:
    """The request's JSON body as ``model``; a field that is ``null`` counts as absent.

    Raises:
        RequestError: the body is too large, is not JSON, does not fit the schema, or uses an unsupported parameter.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    _require_json_type(request.headers.get("content-type", ""))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return await run_in_threadpool(lambda: _validated(_parse(bytes(body)), model))


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(f"a body may have at most {max_bytes} bytes", code="body_too_large", status=413)


def _require_json_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    is_json = media_type.startswith("application/") and media_type.endswith("+json")
    if media_type != "application/json" and not is_json:
        reason = "the body must be sent as application/json"
        raise RequestError(reason, code="unsupported_content_type", status=415)


def _parse(body: bytes) -> Any:
    try:
        return parse(body)
    except JsonTooLong as error:
        raise RequestError(str(error), code="body_too_large", status=413) from error
    except NotStrictJson as error:
        raise RequestError(f"the body cannot be read: {error}", code="malformed_body") from error


def _validated(document: Any, model: type[_Body]) -> _Body:
    if isinstance(document, Mapping):
        document = {name: value for name, value in document.items() if not _is_neutral(name, value)}
        _refuse_unsupported(document)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _invalid(error.errors(include_url=False, include_context=False, include_input=False)) from error


def _is_neutral(name: str, value: Any) -> bool:
    if value is None:
        return True
    neutral = NEUTRAL.get(name)
    return type(value) is type(neutral) and value == neutral


def _refuse_unsupported(names: Iterable[str]) -> None:
    for name in names:
        if name in REFUSED:
            raise RequestError(f"{name}: {REFUSED[name]}", param=name, code="unsupported_parameter")


def _invalid(errors: Sequence[ErrorDetails]) -> RequestError:
    """One error for all that pydantic found; the first finding decides ``param`` and ``code``."""
    fields = [(_path(each["loc"]), _MESSAGES.get(each["type"], each["msg"])) for each in errors[:_PROBLEMS_MAX]]
    message = "; ".join(f"{field}: {reason}" for field, reason in fields)
    return RequestError(message, param=fields[0][0], code=_CODES.get(errors[0]["type"], INVALID_VALUE))


def _path(location: Iterable[int | str]) -> str:
    """A field's path, such as ``messages[0].content``; ``body`` for the body itself."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".")[:_FIELD_MAX_CHARS] or "body"
