"""The images of requests: uploads are checked and stored, links to our own images become ids."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TypeVar

from models.errors import Problem, ProblemCode, UnreadableImage
from models.jobs.checks import Problems
from models.jobs.params import JobRequest
from models.jobs.sources import IMAGE, INPUT, is_url, sources_of, url_problem, with_sources
from models.jobs.urls import FetchPolicy, parse_url
from models.media.images import measure
from service.backbone.inputs import InputStore
from service.backbone.store import ImageStore
from service.jobs.errors import ImageRefused

_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_OUR_IMAGE = re.compile(r"(?:/images)?/([0-9a-f-]{36})\.png(\?[^#]*)?")
_SHOWN_CHARS = 40

_Request = TypeVar("_Request", bound=JobRequest)


@dataclass(frozen=True)
class StoredInput:
    """An uploaded image."""

    source: str
    """``input:<sha256>``, by which jobs name it."""
    width: int
    """Pixels; so is ``height``."""
    height: int


class ImageIntake:
    """Checks and stores the images of requests. All methods block.

    Args:
        max_bytes: the largest file that is accepted.
        policy: from where workers may fetch images.
    """

    def __init__(self, inputs: InputStore, images: ImageStore, max_bytes: int, policy: FetchPolicy) -> None:
        self._inputs, self._images, self._max_bytes, self._policy = inputs, images, max_bytes, policy

    def store(self, data: bytes) -> StoredInput:
        """Store the encoded image in ``data``.

        Raises:
            ImageRefused: it is not an image, or too large.
        """
        if len(data) > self._max_bytes:
            raise ImageRefused(self._too_large())
        try:
            width, height = measure(data)
        except UnreadableImage as error:
            raise ImageRefused(str(error)) from error
        return StoredInput(INPUT + self._inputs.add(data), width, height)

    def take_in(self, request: _Request, our_url: str | None) -> _Request:
        """``request`` with its images stored and checked.

        Base64 becomes ``input:<sha256>``, a link that starts with ``our_url`` becomes ``image:<id>``; the image must
        exist. Other URLs stay: the worker fetches them.

        Raises:
            InvalidTicket: with every image that cannot be used.
        """
        problems, taken = Problems(), {}
        for field, source in sources_of(request):
            try:
                taken[field] = self._take(source, our_url)
            except ImageRefused as error:
                problems.note(field, Problem(str(error), ProblemCode.MALFORMED))
        problems.raise_if_any()
        return with_sources(request, taken)

    def _take(self, source: str, our_url: str | None) -> str:
        if is_url(source):
            image_id = _own_image_id(source, our_url)
            return self._checked_url(source) if image_id is None else self._take(IMAGE + image_id, None)
        if source.startswith(INPUT):
            if not self._inputs.touch(source.removeprefix(INPUT)):
                raise ImageRefused("there is no such input, or it has expired: send the image again")
            return source
        if source.startswith(IMAGE):
            if self._images.path(source.removeprefix(IMAGE)) is None:
                raise ImageRefused("there is no such image, or it is not finished yet")
            return source
        return self.store(self._decoded(source)).source

    def _checked_url(self, source: str) -> str:
        """``source``, unless the settings forbid that it is fetched; how it is written is checked with the ticket."""
        if url_problem(source) is None and (problem := self._policy.problem(parse_url(source))):
            raise ImageRefused(problem)
        return source

    def _decoded(self, source: str) -> bytes:
        data_url = _DATA_URL.match(source)
        if data_url is None and source[:5].lower() == "data:":
            raise ImageRefused("a data: URL must begin like data:image/png;base64,")
        text = source[data_url.end() :] if data_url else source
        if len(text) * 3 // 4 > self._max_bytes + 2:
            raise ImageRefused(self._too_large())
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            shown = source if len(source) <= _SHOWN_CHARS else f"{source[:_SHOWN_CHARS]}..."
            message = f"{shown!r} is not a URL, not input:<sha256> or image:<id>, and not Base64: {error}"
            raise ImageRefused(message) from error

    def _too_large(self) -> str:
        return f"an image may have at most {self._max_bytes} bytes"


def _own_image_id(url: str, our_url: str | None) -> str | None:
    """The id of the image that ``url`` links to, if it is one of this server's."""
    if not our_url or not url.startswith(our_url):
        return None
    found = _OUR_IMAGE.fullmatch(url.removeprefix(our_url))
    return None if found is None else found[1]
