"""Loading the images that jobs start from: fetched from URLs or read from the stores, and decoded."""

from __future__ import annotations

from PIL.Image import Image

from models.errors import InputUnavailable, UnreadableImage
from models.jobs.parameters import sources
from models.jobs.params import JobParams
from models.jobs.sources import IMAGE, INPUT, is_url
from models.media.images import decode, decode_mask
from service.backbone.inputs import InputStore
from service.backbone.store import ImageStore
from workers.fetch import Deadline, FetchLimits, fetch


class ImageLoader:
    """Loads images by their sources; blocking."""

    def __init__(self, inputs: InputStore, images: ImageStore, limits: FetchLimits) -> None:
        self._inputs, self._images, self._limits = inputs, images, limits

    def load(self, params: JobParams) -> dict[str, Image]:
        """All images that ``params`` names, by source: masks as L, all others as RGB.

        A source that is both a mask and another image is RGB.

        Raises:
            InputUnavailable: an image cannot be fetched or found, or is not an image; the error names its field.
        """
        masks, deadline = params.mask_sources, Deadline(self._limits.deadline_s)
        fields = {source: field for field, source, _ in reversed(list(sources(params.declaration, params)))}
        return {source: self._load(source, fields[source], source in masks, deadline) for source in fields}

    def _load(self, source: str, field: str, is_mask: bool, deadline: Deadline) -> Image:
        try:
            data = self._data(source, deadline)
            return decode_mask(data) if is_mask else decode(data)
        except (InputUnavailable, UnreadableImage) as error:
            raise InputUnavailable(str(error), field) from error

    def _data(self, source: str, deadline: Deadline) -> bytes:
        if is_url(source):
            return fetch(source, self._limits, deadline)
        store, name = (self._inputs, INPUT) if source.startswith(INPUT) else (self._images, IMAGE)
        path = store.path(source.removeprefix(name))
        if path is None:
            raise InputUnavailable("the image is not there any more; send it again")
        return path.read_bytes()
