"""Content negotiation: the form of a response and the format of its image, by the Accept header as Prodia reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from models.errors import FieldProblem, InvalidTicket, ProblemCode, quoted
from service.api.formats import IMAGE_FORMATS, JPEG, ImageFormat
from service.api.multipart import FORM
from service.api.responses import JSON

_ALIASES: Mapping[str, str] = {"image/jpg": "image/jpeg"}
_ANYTHING = ("*/*", "image/*", "")
_AVAILABLE = (FORM, *IMAGE_FORMATS, JSON)


@dataclass(frozen=True)
class ResponseFormat:
    """The form of a response: ``form`` is the job with its image, the others are only one of the two."""

    form: Literal["form", "image", "job"]
    image: ImageFormat


def negotiate(accept: str, hint: str | None) -> ResponseFormat:
    """The format that ``accept`` requests: of the media range with the greatest weight, the first among equals.

    ``multipart/form-data; image/png`` is Prodia's way to request a form with an image of that format.

    Args:
        accept: the header; empty if there is none.
        hint: the media type of the image if ``accept`` leaves it open.

    Raises:
        InvalidTicket: nothing that ``accept`` lists is available.
    """
    default = IMAGE_FORMATS.get(_normalized(hint or ""), JPEG)
    for media_range in _by_weight(accept):
        found = _parsed(media_range, default)
        if found is not None:
            return found
    message = f"must name one of {', '.join(_AVAILABLE)}, and is {quoted(accept)}"
    raise InvalidTicket([FieldProblem("Accept", message, ProblemCode.NOT_ALLOWED, allowed=_AVAILABLE)])


def accepts_form(accept: str) -> bool:
    """Whether a client that sent ``accept`` can parse a form: the header lists forms, or is empty."""
    kinds = [media_range[0] for media_range in _by_weight(accept)]
    return any(kind in (FORM, "multipart/*", "*/*", "") for kind in kinds)


def _by_weight(accept: str) -> list[list[str]]:
    """The media ranges with their parameters, without those of weight 0."""
    ranges = [[_normalized(part) for part in each.split(";")] for each in accept.split(",")]
    weighted = sorted(ranges, key=_weight, reverse=True)
    return [each for each in weighted if _weight(each) > 0]


def _weight(media_range: list[str]) -> float:
    for parameter in media_range[1:]:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 1.0
    return 1.0


def _parsed(media_range: list[str], default: ImageFormat) -> ResponseFormat | None:
    kind, *parameters = media_range
    if kind in (FORM, "multipart/*"):
        formats = [parameter for parameter in parameters if "/" in parameter]
        image = IMAGE_FORMATS.get(formats[0]) if formats else default
        return None if image is None else ResponseFormat("form", image)
    if kind == JSON:
        return ResponseFormat("job", default)
    if kind in _ANYTHING:
        return ResponseFormat("image", default)
    return ResponseFormat("image", IMAGE_FORMATS[kind]) if kind in IMAGE_FORMATS else None


def _normalized(text: str) -> str:
    lowered = text.strip().lower()
    return _ALIASES.get(lowered, lowered)
