"""Sources: the strings by which jobs name the images they start from, as tickets keep them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from models.jobs.params import DrawRequest, FaceSwapRequest, Request

INPUT = "input:"
"""Before the SHA-256, in hexadecimal, of an uploaded image's bytes."""
IMAGE = "image:"
"""Before the id of an image that was drawn here."""
URL_MAX_CHARS = 4096

_SCHEMES = ("http", "https")
_STORED = re.compile(r"input:[0-9a-f]{64}|image:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FORMS = "an http or https URL, input:<sha256> or image:<id>"


def is_url(source: str) -> bool:
    """Whether the image is to be fetched from somewhere."""
    return source[:8].lower().startswith(("http://", "https://"))


def source_problem(source: str) -> str | None:
    """Why ``source`` can name no image; ``None`` if it may name one."""
    if not is_url(source):
        return None if _STORED.fullmatch(source) else f"must be {_FORMS}"
    if len(source) > URL_MAX_CHARS:
        return f"a URL may have at most {URL_MAX_CHARS} characters"
    return url_problem(source)


def url_problem(url: str) -> str | None:
    """Why nothing can be fetched from ``url``, as far as its text tells; ``None`` if it may work."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "a URL must be printable ASCII without spaces: percent-encode the rest"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in _SCHEMES:
        return "a URL must begin with http:// or https://"
    if not host:
        return "a URL must name a host"
    return "a URL must not carry a user's name or password" if "@" in parts.netloc else None


def sources_of(request: Request) -> Iterator[tuple[str, str]]:
    """The field and the source of every image that ``request`` names; a face swap's are never looked at."""
    if isinstance(request, FaceSwapRequest):
        return
    if request.image is not None:
        yield "image", request.image
    if not isinstance(request, DrawRequest):
        return
    if request.mask is not None:
        yield "mask.image", request.mask.image
    for index, control in enumerate(request.controls):
        if control.image is not None:
            yield f"controls[{index}].image", control.image


def with_sources(request: Request, sources: Mapping[str, str]) -> Request:
    """``request`` with the sources of some fields, named as :func:`sources_of` does, replaced."""
    if isinstance(request, FaceSwapRequest):
        return request
    if not isinstance(request, DrawRequest):
        return replace(request, image=sources.get("image", request.image))
    mask = request.mask
    return replace(
        request,
        image=sources.get("image", request.image),
        mask=None if mask is None else replace(mask, image=sources.get("mask.image", mask.image)),
        controls=tuple(
            replace(control, image=sources.get(f"controls[{index}].image", control.image))
            for index, control in enumerate(request.controls)
        ),
    )
