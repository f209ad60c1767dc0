"""Loading the images that jobs start from: fetched from URLs or read from the stores, and decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from PIL.Image import Image

from models.errors import InputUnavailable, UnreadableImage
from models.jobs.params import JobParams
from models.jobs.sources import IMAGE, INPUT, is_url
from models.jobs.urls import without_credentials
from models.media.images import decode, decode_mask
from service.backbone.inputs import InputStore
from service.backbone.store import ImageStore
from workers.fetch import FetchLimits, fetch
from workers.fetching.connection import Deadline

IMAGES_MAX = 3
"""How many files of the largest size the URLs of one job may have together."""


Fetched = Mapping[str, bytes]
"""The files that were fetched, by URL."""


class ImageLoader:
    """Loads images by their sources; blocking. Fetching waits for the network, and decoding needs the CPU."""

    def __init__(self, inputs: InputStore, images: ImageStore, limits: FetchLimits) -> None:
        self._inputs, self._images, self._limits = inputs, images, limits

    def fetch(self, params: JobParams) -> Fetched:
        """The files at all URLs that ``params`` names; the deadline counts from now on.

        Raises:
            InputUnavailable: one of them cannot be fetched, or they are too large together.
        """
        fetched: dict[str, bytes] = {}
        deadline, left_bytes = Deadline(self._limits.deadline_s), IMAGES_MAX * self._limits.max_bytes
        for url in dict.fromkeys(filter(is_url, params.sources)):
            limits = replace(self._limits, max_bytes=min(self._limits.max_bytes, left_bytes))
            fetched[url] = fetch(url, limits, deadline)
            left_bytes -= len(fetched[url])
        return fetched

    def load(self, params: JobParams, fetched: Fetched) -> dict[str, Image]:
        """All images that ``params`` names, by source: masks as L, all others as RGB.

        A source that is both a mask and another image is RGB.

        Raises:
            InputUnavailable: an image cannot be found, or is not an image.
        """
        masks = params.mask_sources
        return {source: self._load(source, source in masks, fetched) for source in dict.fromkeys(params.sources)}

    def _load(self, source: str, is_mask: bool, fetched: Fetched) -> Image:
        data = self._data(source, fetched)
        try:
            return decode_mask(data) if is_mask else decode(data)
        except UnreadableImage as error:
            raise InputUnavailable(f"{_shown(source)}: {error}") from error

    def _data(self, source: str, fetched: Fetched) -> bytes:
        if is_url(source):
            return fetched[source]
        store, name = (self._inputs, INPUT) if source.startswith(INPUT) else (self._images, IMAGE)
        path = store.path(source.removeprefix(name))
        if path is None:
            raise InputUnavailable(f"{_shown(source)} is not there any more")
        return path.read_bytes()


def _shown(source: str) -> str:
    """``source`` without what may be secret: user name, password, and query."""
    return without_credentials(source).partition("?")[0]
