"""Loading the images that jobs start from: fetched from URLs or read from the stores, and decoded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from io import BytesIO

from PIL.Image import Image

from models.catalog.catalog import Catalog
from models.errors import InputUnavailable, UnreadableImage
from models.jobs.cost import NO_LIMITS, Cost, CostLimits
from models.jobs.params import JobParams, Reduction
from models.jobs.sources import IMAGE, INPUT, is_url
from models.media.fitting import fit
from models.media.images import decode, decode_mask, header_size
from models.media.pixel_budget import PixelBudget
from service.backbone.inputs import InputStore
from service.backbone.settings import Settings
from service.backbone.store import ImageStore
from workers.fetch import Deadline, FetchLimits, fetch


class ImageLoader:
    """Loads images by their sources; blocking.

    Args:
        budget: holds the pixels of images from before they are decoded until their job has ended.
        costs: what a job may cost. The sizes of fetched images are not known before.
    """

    def __init__(
        self,
        inputs: InputStore,
        images: ImageStore,
        limits: FetchLimits,
        budget: PixelBudget | None = None,
        costs: CostLimits = NO_LIMITS,
    ) -> None:
        self._inputs, self._images, self._limits = inputs, images, limits
        self._budget, self._costs = budget or PixelBudget(Settings.decoding_px), costs

    def load(self, params: JobParams, catalog: Catalog) -> dict[str, Image]:
        """All images that ``params`` names, by source: masks as L, all others as RGB.

        A source that is both a mask and another image is RGB. An image that the job uses at one size only is reduced to
        that size at once.

        Raises:
            InputUnavailable: an image cannot be fetched or found, or is not an image, or is too large for the job.
        """
        deadline = Deadline(self._limits.deadline_s)
        files = {source: self._data(source, deadline) for source in dict.fromkeys(params.sources)}
        cost = self._checked_cost(params, files)
        lease = self._budget.acquire(cost.source_px + cost.output_px)
        try:
            images = _decoded(files, params.mask_sources, params.reductions(catalog))
        except BaseException:
            lease.release()
            raise
        lease.keep(images.values(), cost.output_px)
        return images

    def _checked_cost(self, params: JobParams, files: Mapping[str, bytes]) -> Cost:
        sizes = {source: header_size(BytesIO(data)) for source, data in files.items()}
        cost = params.cost({source: size for source, size in sizes.items() if size is not None})
        for problem in self._costs.problems(cost):
            raise InputUnavailable(problem.message)
        return cost

    def _data(self, source: str, deadline: Deadline) -> bytes:
        if is_url(source):
            return fetch(source, self._limits, deadline)
        store, name = (self._inputs, INPUT) if source.startswith(INPUT) else (self._images, IMAGE)
        path = store.path(source.removeprefix(name))
        if path is None:
            raise InputUnavailable(f"{_shown(source)} is not there any more")
        return path.read_bytes()


def _decoded(files: dict[str, bytes], masks: Collection[str], reductions: Mapping[str, Reduction]) -> dict[str, Image]:
    """The images in ``files``, whose bytes are dropped one after the other."""
    return {
        source: _image(source, files.pop(source), source in masks, reductions.get(source)) for source in list(files)
    }


def _image(source: str, data: bytes, is_mask: bool, reduction: Reduction | None) -> Image:
    used_px = None if reduction is None else max(reduction.size)
    try:
        image = decode_mask(data) if is_mask else decode(data, used_px)
    except UnreadableImage as error:
        raise InputUnavailable(f"{_shown(source)}: {error}") from error
    return image if reduction is None else fit(image, reduction.size, reduction.mode)


def _shown(source: str) -> str:
    """``source`` without a query, which may hold credentials."""
    return source.partition("?")[0]
