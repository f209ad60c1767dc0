"""Loading the images that jobs start from: fetched from URLs or read from the stores, and decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from types import MappingProxyType
from typing import BinaryIO

from PIL.Image import Image

from models.catalog.catalog import Catalog
from models.errors import InputUnavailable, PhotogramError, UnreadableImage
from models.jobs.cost import NO_LIMITS, Cost, CostLimits
from models.jobs.parameters import DECODED, sources
from models.jobs.params import JobParams, Reduction
from models.jobs.sources import IMAGE, INPUT, is_url
from models.media.fitting import fit
from models.media.images import decode, decode_mask, header_size
from models.media.pixel_budget import PixelBudget
from service.backbone.guarded_http import Deadline
from service.backbone.inputs import InputStore
from service.backbone.objects.protocol import StoredObject
from service.backbone.settings import Settings
from service.backbone.store import ImageStore
from workers.fetch import FetchLimits, fetch
from workers.reduced_images import Key, ReducedImages

IMAGES_MAX = 3
"""How many files of the largest size the URLs of one job may have together."""

Fetched = Mapping[str, bytes]
"""The files that were fetched, by URL."""
NOTHING: Fetched = MappingProxyType({})


class NoLongerWanted(PhotogramError):
    """The job of the images ended while they waited for the budget."""


class ImageLoader:
    """Loads images by their sources; blocking. Fetching waits for the network, and decoding needs the CPU.

    Args:
        budget: holds the pixels of images from before they are decoded until they are reduced, or the job has ended.
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
        self._reduced = ReducedImages()

    def fetch(self, params: JobParams) -> Fetched:
        """The files at all URLs that ``params`` names; the deadline counts from now on.

        Raises:
            InputUnavailable: one of them cannot be fetched, or they are too large together; the error names its field.
        """
        fetched: dict[str, bytes] = {}
        deadline, left_bytes = Deadline(self._limits.deadline_s), IMAGES_MAX * self._limits.max_bytes
        for url, field in _fields(params).items():
            if not is_url(url):
                continue
            limits = replace(self._limits, max_bytes=min(self._limits.max_bytes, left_bytes))
            try:
                fetched[url] = fetch(url, limits, deadline)
            except InputUnavailable as error:
                error.field = field
                raise
            left_bytes -= len(fetched[url])
        return fetched

    def load(
        self,
        params: JobParams,
        catalog: Catalog,
        fetched: Fetched = NOTHING,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> dict[str, Image]:
        """All images that ``params`` names, by source: masks as L, all others as RGB.

        A source that is both a mask and another image is RGB. An image that the job uses at one size only is reduced to
        that size at once.

        Args:
            is_wanted: asked while the images wait for the budget.

        Raises:
            NoLongerWanted: ``is_wanted`` said so.
            StorageUnavailable: the store of an image cannot be reached.
            InputUnavailable: an image cannot be found, is not an image, or is too large for the job; the
                error names its field.
        """
        uses = _uses(params, catalog)
        kept = self._kept_images(uses)
        if kept is not None:
            return kept
        files = {source: self._data(use, fetched) for source, use in uses.items()}
        cost = self._checked_cost(params, files)
        lease = self._budget.acquire(cost.source_px + cost.output_px, is_wanted)
        if lease is None:
            raise NoLongerWanted
        try:
            images = self._decoded(files, uses)
        except BaseException:
            lease.release()
            raise
        lease.keep([images[source] for source, use in uses.items() if use.reduction is None], cost.output_px)
        return images

    def _kept_images(self, uses: Mapping[str, _Use]) -> dict[str, Image] | None:
        """The images of a job if all of them are kept from earlier jobs, reduced; else ``None``."""
        found = {source: use.key and self._reduced.get(use.key) for source, use in uses.items()}
        images = {source: image for source, image in found.items() if image is not None}
        return images if len(images) == len(uses) else None

    def _decoded(self, files: dict[str, bytes], uses: Mapping[str, _Use]) -> dict[str, Image]:
        """The images in ``files``, whose bytes are dropped one after the other."""
        return {source: self._image(files.pop(source), use) for source, use in uses.items()}

    def _image(self, data: bytes, use: _Use) -> Image:
        kept = None if use.key is None else self._reduced.get(use.key)
        if kept is not None:  # another thread had it decoded while this one waited for the budget
            return kept
        image = use.read(data)
        if use.key is not None:
            self._reduced.add(use.key, image)
        return image

    def _checked_cost(self, params: JobParams, files: Mapping[str, bytes]) -> Cost:
        sizes = {source: header_size(BytesIO(data)) for source, data in files.items()}
        cost = params.cost({source: size for source, size in sizes.items() if size is not None})
        for problem in self._costs.problems(cost):
            raise InputUnavailable(problem.message, problem.field)
        return cost

    def open(self, source: str) -> BinaryIO:
        """The stored file behind ``source``, as it was uploaded or made.

        Raises:
            InputUnavailable: it is gone.
            StorageUnavailable: its store cannot be reached.
        """
        try:
            found = self._find(source)
            if found is not None:
                return found.open()
        except FileNotFoundError:  # it was removed this moment
            pass
        raise InputUnavailable(f"{source} is not there any more; send it again")

    def _find(self, source: str) -> StoredObject | None:
        store, name = (self._inputs, INPUT) if source.startswith(INPUT) else (self._images, IMAGE)
        return store.find(source.removeprefix(name))

    def _data(self, use: _Use, fetched: Fetched) -> bytes:
        source = use.source
        if is_url(source):
            return fetched[source]
        found = self._find(source)
        try:
            if found is not None:
                return found.read()
        except FileNotFoundError:  # it was removed this moment
            pass
        raise InputUnavailable("the image is not there any more; send it again", use.field)


@dataclass(frozen=True)
class _Use:
    """How a job uses one image."""

    source: str
    field: str
    """The path of the first field of the request that names the image."""
    is_mask: bool
    reduction: Reduction | None
    """``None`` if the image is needed whole."""

    @property
    def key(self) -> Key | None:
        """The key of the reduced image; ``None`` if it is not reduced, or a URL, which may give another image later."""
        if self.reduction is None or is_url(self.source):
            return None
        return self.source, self.is_mask, self.reduction

    def read(self, data: bytes) -> Image:
        """The image in ``data``, reduced; raises :class:`InputUnavailable` if it cannot be read."""
        used_px = None if self.reduction is None else max(self.reduction.size)
        try:
            image = decode_mask(data) if self.is_mask else decode(data, used_px)
        except UnreadableImage as error:
            raise InputUnavailable(str(error), self.field) from error
        return image if self.reduction is None else fit(image, self.reduction.size, self.reduction.mode)


def _uses(params: JobParams, catalog: Catalog) -> dict[str, _Use]:
    masks, reductions = params.mask_sources, params.reductions(catalog)
    return {
        source: _Use(source, field, source in masks, reductions.get(source))
        for source, field in _fields(params).items()
    }


def _fields(params: JobParams) -> dict[str, str]:
    """The path of the first field that names each source whose image is decoded."""
    found = [each for each in sources(params.declaration, params) if each[2] in DECODED]
    return {source: field for field, source, _ in reversed(found)}
