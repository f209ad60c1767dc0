"""The images that jobs start from: fetched or read, and decoded, on a thread that may take its time."""

from __future__ import annotations

from PIL.Image import Image

from models.errors import InputUnavailable, UnreadableImage
from models.jobs.params import DrawParams, JobParams
from models.jobs.sources import IMAGE, INPUT, is_url
from models.media.images import decode, decode_mask
from service.backbone.inputs import InputStore
from service.backbone.store import ImageStore
from workers.fetch import Deadline, FetchLimits, fetch


class ImageLoader:
    """Brings images in from wherever their sources say that they are."""

    def __init__(self, inputs: InputStore, images: ImageStore, limits: FetchLimits) -> None:
        self._inputs, self._images, self._limits = inputs, images, limits

    def load(self, params: JobParams) -> dict[str, Image]:
        """Every image that ``params`` name, by source: masks as L, all others as RGB.

        A source that is both a mask and another image is RGB.

        Raises:
            InputUnavailable: one of them cannot be had, or is no image.
        """
        masks, deadline = _only_masks(params), Deadline(self._limits.deadline_s)
        return {source: self._load(source, source in masks, deadline) for source in dict.fromkeys(params.sources)}

    def _load(self, source: str, is_mask: bool, deadline: Deadline) -> Image:
        data = self._data(source, deadline)
        try:
            return decode_mask(data) if is_mask else decode(data)
        except UnreadableImage as error:
            raise InputUnavailable(f"{_shown(source)}: {error}") from error

    def _data(self, source: str, deadline: Deadline) -> bytes:
        if is_url(source):
            return fetch(source, self._limits, deadline)
        store, name = (self._inputs, INPUT) if source.startswith(INPUT) else (self._images, IMAGE)
        path = store.path(source.removeprefix(name))
        if path is None:
            raise InputUnavailable(f"{_shown(source)} is not there any more")
        return path.read_bytes()


def _only_masks(params: JobParams) -> set[str]:
    if not isinstance(params, DrawParams) or params.mask is None:
        return set()
    others = {params.image, *(control.image for control in params.controls)}
    return {params.mask.image} - {each for each in others if each is not None}


def _shown(source: str) -> str:
    return source.partition("?")[0]
