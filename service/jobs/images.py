"""The images and archives of requests: uploads are checked and stored, links to our own images become ids."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from models.errors import Problem, ProblemCode, UnreadableArchive, UnreadableImage
from models.jobs.checks import Problems
from models.jobs.cost import Sizes
from models.jobs.parameters import sources
from models.jobs.params import JobParams, JobRequest
from models.jobs.sources import IMAGE, INPUT, is_url, sources_of, url_problem, with_sources
from models.jobs.urls import FetchPolicy, parse_url
from models.media.archives import archive_facts
from models.media.images import header_size, measure
from service.backbone.inputs import InputStore
from service.backbone.objects.protocol import StoredObject
from service.backbone.storage import StorageMonitor
from service.backbone.store import ImageStore
from service.jobs.errors import ImageRefused

_DATA_URL = re.compile(r'data:(?P<type>(?:"[^"]*"|[^,"]){0,1000}),', re.IGNORECASE)
"""RFC 2397: any media type and any parameters, in quotes or not; what the data is, its bytes say."""
_OUR_IMAGE = re.compile(r"(?:/images)?/([0-9a-f-]{36})\.png(\?[^#]*)?")
_SHOWN_CHARS = 40
_SPELLED_MAX = 3
"""The most characters that spell one byte: in a ``data:`` URL it may be percent-encoded."""
_PLAIN_ALPHABET = bytes.maketrans(b"-_", b"+/")
"""From the URL-safe alphabet of RFC 4648 to the standard one."""
_SPACES = b" \t\n\r\v\f"
_PIECE_CHARS = 1 << 16
"""Texts are unquoted in pieces, because other threads stand still during each call."""

_Request = TypeVar("_Request", bound=JobRequest)


@dataclass(frozen=True)
class StoredInput:
    """An uploaded image."""

    source: str
    """``input:<sha256>``, by which jobs name it."""
    width: int
    """Pixels; so is ``height``."""
    height: int


@dataclass(frozen=True)
class StoredArchive:
    """An uploaded zip archive."""

    source: str
    """``input:<sha256>``, by which jobs name it."""
    files: int
    unpacked_bytes: int


class ImageIntake:
    """Checks and stores the images and archives of requests. All methods block.

    Args:
        max_bytes: the largest file of an image that is accepted.
        archive_max_bytes: the largest archive in a request; one of an upload is limited as every body is.
        policy: from where workers may fetch images.
        storage: says whether there is room for further files.
    """

    def __init__(
        self,
        inputs: InputStore,
        images: ImageStore,
        max_bytes: int,
        policy: FetchPolicy,
        storage: StorageMonitor | None = None,
        *,
        archive_max_bytes: int = 64 << 20,
    ) -> None:
        self._inputs, self._images, self._max_bytes = inputs, images, max_bytes
        self._policy, self._storage, self._archive_max_bytes = policy, storage, archive_max_bytes

    def store(self, data: bytes) -> StoredInput:
        """Store the encoded image in ``data``.

        Raises:
            ImageRefused: it is not an image, or too large.
            StorageUnavailable: the disk is full or nearly full, or cannot be written.
        """
        if len(data) > self._max_bytes:
            raise ImageRefused(_too_large(self._max_bytes))
        try:
            width, height = measure(data)
        except UnreadableImage as error:
            raise ImageRefused(str(error)) from error
        if self._storage is not None:
            self._storage.require_room()
        return StoredInput(INPUT + self._inputs.add(data), width, height)

    def store_archive(self, data: bytes) -> StoredArchive:
        """Store the zip archive in ``data``.

        Raises:
            ImageRefused: it is no zip archive, or one that may not be unpacked.
            StorageUnavailable: as :meth:`store`.
        """
        try:
            facts = archive_facts(BytesIO(data))
        except UnreadableArchive as error:
            raise ImageRefused(str(error)) from error
        if self._storage is not None:
            self._storage.require_room()
        return StoredArchive(INPUT + self._inputs.add(data), facts.files, facts.unpacked_bytes)

    def sizes(self, params: JobParams) -> Sizes:
        """The sizes of those images and archives of a job that are stored here."""
        return known_sizes(params, self._inputs, self._images)

    def take_in(self, request: _Request, our_url: str | None) -> _Request:
        """``request`` with its images and archives stored and checked.

        Base64 becomes ``input:<sha256>``, a link that starts with ``our_url`` becomes ``image:<id>``; the image must
        exist. Other URLs stay: the worker fetches them.

        Raises:
            InvalidTicket: with every image that cannot be used.
            StorageUnavailable: as :meth:`store`.
        """
        problems, taken = Problems(), {}
        for field, source, role in sources_of(request):
            try:
                taken[field] = self._take_archive(source) if role == "archive" else self._take(source, our_url)
            except ImageRefused as error:
                problems.note(field, Problem(str(error), ProblemCode.MALFORMED))
        problems.raise_if_any()
        return with_sources(request, taken)

    def _take(self, source: str, our_url: str | None) -> str:
        source = source.strip()
        if is_url(source):
            image_id = _own_image_id(source, our_url)
            return self._checked_url(source) if image_id is None else self._take(IMAGE + image_id, None)
        if source.startswith(INPUT):
            if not self._inputs.touch(source.removeprefix(INPUT)):
                raise ImageRefused("there is no such input, or it has expired: send the image again")
            return source
        if source.startswith(IMAGE):
            if self._images.find(source.removeprefix(IMAGE)) is None:
                raise ImageRefused("there is no such image, or it is not finished yet")
            return source
        return self._store_spelled(source)

    def _take_archive(self, source: str) -> str:
        source = source.strip()
        if not source.startswith(INPUT):
            if is_url(source) or source.startswith(IMAGE):
                raise ImageRefused("must be input:<sha256> of an uploaded zip archive, or Base64 of one")
            return self.store_archive(self._decoded(source, self._archive_max_bytes)).source
        taken = self._take(source, None)
        found = find_stored(taken, self._inputs, self._images)
        if found is None or archive_size(found) is None:
            raise ImageRefused("this input is no zip archive: upload one to /v1/archives")
        return taken

    def _store_spelled(self, source: str) -> str:
        """Store the image that ``source`` spells in Base64 or as a ``data:`` URL."""
        data = self._decoded(source, self._max_bytes)
        try:
            return self.store(data).source
        except ImageRefused as error:
            if len(source) > _SHOWN_CHARS:
                raise
            message = f"{source!r} is not a URL, not input:<sha256> or image:<id>, and not Base64 of an image: {error}"
            raise ImageRefused(message) from error

    def _checked_url(self, source: str) -> str:
        """``source``, unless the settings forbid that it is fetched; how it is written is checked with the ticket."""
        if url_problem(source) is None and (problem := self._policy.problem(parse_url(source))):
            raise ImageRefused(problem)
        return source

    def _decoded(self, source: str, max_bytes: int) -> bytes:
        """The bytes of Base64, bare or in a ``data:`` URL; of a ``data:`` URL without ``;base64``, its plain bytes."""
        header = _DATA_URL.match(source)
        if header is None and source[:5].lower() == "data:":
            raise ImageRefused("a data: URL must have a comma before its data, as data:image/png;base64,... has")
        text = source[header.end() :] if header else source
        if len(text) > _SPELLED_MAX * max_bytes + _SPELLED_MAX:
            raise ImageRefused(_too_large(max_bytes))
        if header is not None and not header["type"].lower().rstrip().endswith(";base64"):
            return unquoted(text)
        try:
            plain = plain_base64(unquoted(text) if header else text.encode("ascii", "replace"))
            if len(plain) // 4 * 3 > max_bytes:
                raise ImageRefused(_too_large(max_bytes))
            return decode_base64(plain)
        except ValueError as error:
            shown = source if len(source) <= _SHOWN_CHARS else f"{source[:_SHOWN_CHARS]}..."
            message = f"{shown!r} is not a URL, not input:<sha256> or image:<id>, and not Base64: {error}"
            raise ImageRefused(message) from error


def _too_large(max_bytes: int) -> str:
    return f"the file may have at most {max_bytes} bytes"


def unquoted(text: str) -> bytes:
    """The bytes of percent-encoded ``text``."""
    pieces, start = [], 0
    while start < len(text):
        end = start + _PIECE_CHARS
        cut = text.find("%", max(start + 1, end - 2), end)  # the two digits behind it are in the next piece
        pieces.append(unquote_to_bytes(text[start : end if cut < 0 else cut]))
        start = end if cut < 0 else cut
    return b"".join(pieces)


def plain_base64(text: bytes) -> bytes:
    """Base64 as programs write it, in lines, with or without padding, in either of its two alphabets, in one form."""
    return text.translate(_PLAIN_ALPHABET, _SPACES).rstrip(b"=")


def decode_base64(plain: bytes) -> bytes:
    """The bytes of Base64, as :func:`plain_base64` returns it.

    Raises:
        ValueError: a character is of neither alphabet, or one is missing.
    """
    return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)


def known_sizes(params: JobParams, inputs: InputStore, images: ImageStore) -> Sizes:
    """The sizes of the stored images and archives that ``params`` names, read from the headers of their files."""
    found = {}
    for source, role in {source: role for _, source, role in sources(params.declaration, params)}.items():
        stored = None if role == "example" else find_stored(source, inputs, images)
        size = None if stored is None else archive_size(stored) if role == "archive" else stored_size(stored)
        if size is not None:
            found[source] = size
    return found


def archive_size(stored: StoredObject) -> tuple[int, int] | None:
    """The number of files in a stored archive, and 1; ``None`` if it is no archive that may be unpacked."""
    try:
        with stored.open() as file:
            return archive_facts(file).files, 1
    except (FileNotFoundError, UnreadableArchive):
        return None


def stored_size(stored: StoredObject) -> tuple[int, int] | None:
    """Width and height in pixels of a stored image, as its header says; ``None`` if it cannot be read."""
    try:
        with stored.open() as file:
            return header_size(file)
    except FileNotFoundError:  # it was removed this moment
        return None


def find_stored(source: str, inputs: InputStore, images: ImageStore) -> StoredObject | None:
    """The stored image that ``source`` names; ``None`` if there is none, or it is a URL."""
    if source.startswith(INPUT):
        return inputs.find(source.removeprefix(INPUT))
    return images.find(source.removeprefix(IMAGE)) if source.startswith(IMAGE) else None


def _own_image_id(url: str, our_url: str | None) -> str | None:
    """The id of the image that ``url`` links to, if it is one of this server's."""
    if not our_url or not url.startswith(our_url):
        return None
    found = _OUR_IMAGE.fullmatch(url.removeprefix(our_url))
    return None if found is None else found[1]
