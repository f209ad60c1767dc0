"""What a client wants to be answered with, by its Accept header as Prodia understands it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from models.errors import FieldProblem, InvalidTicket
from service.api.formats import IMAGE_FORMATS, JPEG, ImageFormat
from service.api.multipart import FORM

JSON = "application/json"
_ALIASES: Mapping[str, str] = {"image/jpg": "image/jpeg"}
_ANYTHING = ("*/*", "image/*", "")


@dataclass(frozen=True)
class Wanted:
    """The form of an answer: the job with its image, the image alone, or the job alone."""

    form: Literal["form", "image", "job"]
    image: ImageFormat


def negotiate(accept: str, hint: str | None) -> Wanted:
    """What ``accept`` asks for; of several media ranges the one with the greatest weight, and the first among equals.

    ``multipart/form-data; image/png`` is Prodia's way to ask for a form with an image of that format.

    Args:
        accept: the header; empty if there is none.
        hint: the media type that the image should have where ``accept`` leaves it open.

    Raises:
        InvalidTicket: it asks for nothing that there is.
    """
    usual = IMAGE_FORMATS.get(_plain(hint or ""), JPEG)
    for media_range in _by_weight(accept):
        found = _understood(media_range, usual)
        if found is not None:
            return found
    there_are = ", ".join((FORM, *IMAGE_FORMATS, JSON))
    raise InvalidTicket([FieldProblem("Accept", f"{accept[:200]!r} asks for nothing that there is: {there_are}")])


def accepts_form(accept: str) -> bool:
    """Whether a client that sent ``accept`` can read a form: it says so, or says nothing."""
    kinds = [media_range[0] for media_range in _by_weight(accept)]
    return any(kind in (FORM, "multipart/*", "*/*", "") for kind in kinds)


def _by_weight(accept: str) -> list[list[str]]:
    """The media ranges, each with its parameters, those with weight 0 left out."""
    ranges = [[_plain(part) for part in each.split(";")] for each in accept.split(",")]
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


def _understood(media_range: list[str], usual: ImageFormat) -> Wanted | None:
    kind, *parameters = media_range
    if kind in (FORM, "multipart/*"):
        formats = [parameter for parameter in parameters if "/" in parameter]
        asked = IMAGE_FORMATS.get(formats[0]) if formats else usual
        return None if asked is None else Wanted("form", asked)
    if kind == JSON:
        return Wanted("job", usual)
    if kind in _ANYTHING:
        return Wanted("image", usual)
    return Wanted("image", IMAGE_FORMATS[kind]) if kind in IMAGE_FORMATS else None


def _plain(text: str) -> str:
    plain = text.strip().lower()
    return _ALIASES.get(plain, plain)
