"""Parsing of bodies: strict JSON, and forms, in which each field is a text or a file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from service.api.bodies import parse_json, parsed, received_json, require_json_type
from service.api.errors import ApiError, ErrorCode
from service.api.multipart import FORM, FormPart, is_form, parse_form
from service.api.openai.errors import OpenAiError, invalid_fields, refused
from service.api.openai.schemas import ImageFields
from service.api.openai.unsupported import UNSUPPORTED
from service.api.text_numbers import whole_of

_IMAGE = "image"
_FILES = (_IMAGE, "mask")
_TEXTS = ("prompt", "negative_prompt", "image", "mask")
_NUMBERS = (
    "n", "seed", "steps", "step", "num_inference_steps", "width", "height", "clip_skip", "priority",
    "output_compression", "partial_images", "guidance_scale", "cfg_scale", "strength",
)  # fmt: skip
_INDEX = re.compile(r"\[\d*\]$")

_Fields = TypeVar("_Fields", bound=ImageFields)


async def read_json(request: Request, model: type[_Fields]) -> _Fields:
    """The JSON body as ``model``.

    Raises:
        ApiError: the body is not JSON, or does not fit ``model``.
    """
    require_json_type(request.headers)
    return await parsed(await received_json(request), lambda body: _validated(parse_json(body), model, strict=True))


async def read_form(request: Request, model: type[_Fields]) -> _Fields:
    """The multipart form as ``model``; numbers and booleans are sent as text.

    Raises:
        ApiError: the Content-Type is not that of a form, or the form does not fit ``model``.
        InvalidTicket: the body cannot be parsed as a form.
    """
    if not is_form(request.headers):
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"the body must be sent as {FORM}")
    content_type = request.headers["content-type"]
    return await parsed(
        await request.body(), lambda body: _validated(_fields(parse_form(body, content_type)), model, strict=False)
    )


def _validated(document: Any, model: type[_Fields], *, strict: bool) -> _Fields:
    if isinstance(document, Mapping):
        document = _plain(document)
        refused(UNSUPPORTED, (name for name, value in document.items() if value is not None))
    try:
        return model.model_validate(document, strict=strict)
    except ValidationError as error:
        raise invalid_fields(error.errors(include_url=False, include_input=False)) from error


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` without fields whose text is empty, and with numbers that were sent as text or as ``2.0``.

    Forms and clients in shells send these. An empty prompt is one, and so is an empty negative prompt.
    """
    given = {name: value for name, value in document.items() if value != "" or name in _TEXTS}
    return {name: whole_of(value) if name in _NUMBERS else value for name, value in given.items()}


def _fields(parts: list[FormPart]) -> dict[str, str | bytes | list[str | bytes]]:
    images = _images(parts)
    found: dict[str, str | bytes | list[str | bytes]] = {"image": list(images)} if images else {}
    for part in parts:
        name = _INDEX.sub("", part.name)
        if name == _IMAGE:
            continue
        if name in found:
            raise OpenAiError(f"{name}: must be sent once", param=name)
        found[name] = _content(name, part)
    return found


def _images(parts: Sequence[FormPart]) -> list[str | bytes]:
    """The images in their order. Some clients send all of them twice, as ``image`` and as ``image[]``."""
    images = [(part.name == _IMAGE, _content(_IMAGE, part)) for part in parts if _INDEX.sub("", part.name) == _IMAGE]
    plain, indexed = ([content for is_plain, content in images if is_plain is wanted] for wanted in (True, False))
    return plain if plain == indexed else [content for _, content in images]


def _content(name: str, part: FormPart) -> str | bytes:
    is_file = part.filename is not None
    if is_file is not (name in _FILES) and name not in UNSUPPORTED:
        raise OpenAiError(f"{name}: must {'not ' if is_file else ''}be sent as a file", param=name)
    if is_file:
        return part.data
    try:
        return part.data.decode()
    except UnicodeDecodeError as error:
        raise OpenAiError(f"{name}: must be UTF-8", param=name) from error
