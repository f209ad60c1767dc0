"""Bodies as OpenAI's clients send them: JSON, read strictly, and forms, in which all is text or a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from service.api.bodies import parse_json, require_json_type
from service.api.errors import ApiError, ErrorCode
from service.api.multipart import FORM, FormPart, is_form, parse_form
from service.api.openai.errors import OpenAiError, invalid_fields, refused
from service.api.openai.fields import REFUSED, Fields

_FILES = ("image", "mask")
_INDEX = re.compile(r"\[\d*\]$")

_Fields = TypeVar("_Fields", bound=Fields)


async def read_json(request: Request, model: type[_Fields]) -> _Fields:
    """The JSON body as ``model``.

    Raises:
        ApiError: it is no JSON, or not of that shape.
    """
    require_json_type(request.headers)
    body = await request.body()
    return await run_in_threadpool(lambda: _validated(parse_json(body), model, strict=True))


async def read_form(request: Request, model: type[_Fields]) -> _Fields:
    """The multipart form as ``model``; numbers and booleans are text there.

    Raises:
        ApiError: it says that it is something else, or it is not of that shape.
        InvalidTicket: it is no such form.
    """
    if not is_form(request.headers):
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"the body must be sent as {FORM}")
    body, content_type = await request.body(), request.headers["content-type"]
    return await run_in_threadpool(lambda: _validated(_fields(parse_form(body, content_type)), model, strict=False))


def _validated(document: Any, model: type[_Fields], *, strict: bool) -> _Fields:
    if isinstance(document, Mapping):
        refused(REFUSED, (name for name, value in document.items() if value is not None))
    try:
        return model.model_validate(document, strict=strict)
    except ValidationError as error:
        raise invalid_fields(error.errors(include_url=False, include_context=False, include_input=False)) from error


def _fields(parts: list[FormPart]) -> dict[str, str | bytes]:
    found: dict[str, str | bytes] = {}
    for part in parts:
        known_as = _INDEX.sub("", part.name)
        if known_as in found:
            raise OpenAiError(_repeated(known_as), param=known_as)
        found[known_as] = _content(known_as, part)
    return found


def _repeated(name: str) -> str:
    if name == "image":
        return "image: there may be one alone; several images cannot be combined here"
    return f"{name}: may be sent once"


def _content(name: str, part: FormPart) -> str | bytes:
    is_file = part.filename is not None
    if is_file is not (name in _FILES) and name not in REFUSED:
        raise OpenAiError(f"{name}: must {'not ' if is_file else ''}be sent as a file", param=name)
    if is_file:
        return part.data
    try:
        return part.data.decode()
    except UnicodeDecodeError as error:
        raise OpenAiError(f"{name}: is not UTF-8", param=name) from error
