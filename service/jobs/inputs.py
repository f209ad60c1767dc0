"""The images in requests: uploaded ones are checked and stored, links to our own become ids."""

from __future__ import annotations

import base64
import binascii
import re

from models.errors import UnreadableImage
from models.jobs.checks import Problems
from models.jobs.params import JobRequest
from models.jobs.sources import IMAGE, INPUT, is_url, sources_of, with_sources
from models.media.images import measure
from service.api.state import Gateway

_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_OUR_IMAGE = re.compile(r"(?:/images)?/([0-9a-f-]{36})\.png(\?[^#]*)?")
_SHOWN_CHARS = 40


class Refused(Exception):
    """A source that cannot be used; the text says why."""


def take_in(gateway: Gateway, request: JobRequest, our_url: str | None) -> JobRequest:
    """``request`` with its images stored and checked; blocking.

    Base64 becomes ``input:<sha256>``, a link below ``our_url`` becomes ``image:<id>``; both must exist. Other URLs are
    left to the worker.

    Raises:
        InvalidTicket: with every image that cannot be used.
    """
    problems, taken = Problems(), {}
    for field, source in sources_of(request):
        try:
            taken[field] = _take(gateway, source, our_url)
        except Refused as error:
            problems.note(field, str(error))
    problems.raise_if_any()
    return with_sources(request, taken)


def _take(gateway: Gateway, source: str, our_url: str | None) -> str:
    if is_url(source):
        found = _OUR_IMAGE.fullmatch(source.removeprefix(our_url)) if our_url and source.startswith(our_url) else None
        return source if found is None else _take(gateway, IMAGE + found[1], None)
    if source.startswith(INPUT):
        if not gateway.inputs.touch(source.removeprefix(INPUT)):
            raise Refused("there is no such input, or no longer: send the image again")
        return source
    if source.startswith(IMAGE):
        if gateway.store.path(source.removeprefix(IMAGE)) is None:
            raise Refused("there is no such image, or not yet")
        return source
    return store_input(gateway, _decoded(source, gateway.settings.max_input_bytes))[0]


def store_input(gateway: Gateway, data: bytes) -> tuple[str, tuple[int, int]]:
    """Check and keep the image in ``data``; gives its source, and width and height in pixels. Blocking.

    Raises:
        Refused: it is no image, or too large a one.
    """
    if len(data) > gateway.settings.max_input_bytes:
        raise Refused(_too_large(gateway.settings.max_input_bytes))
    try:
        size = measure(data)
    except UnreadableImage as error:
        raise Refused(str(error)) from error
    return INPUT + gateway.inputs.add(data), size


def _decoded(source: str, max_bytes: int) -> bytes:
    data_url = _DATA_URL.match(source)
    if data_url is None and source[:5].lower() == "data:":
        raise Refused("a data: URL must begin as data:image/png;base64, does")
    text = source[data_url.end() :] if data_url else source
    if len(text) * 3 // 4 > max_bytes + 2:
        raise Refused(_too_large(max_bytes))
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        shown = source if len(source) <= _SHOWN_CHARS else f"{source[:_SHOWN_CHARS]}..."
        raise Refused(f"{shown!r} is neither a URL nor a known source, and no Base64: {error}") from error


def _too_large(max_bytes: int) -> str:
    return f"an image may have at most {max_bytes} bytes"
