"""Generated images in other formats than PNG: converted, signed like the image itself, and kept.

Each signature is another one, so that a signed conversion is made once: the bytes behind one image and one format
never change. Conversions of images without a manifest are equal every time, and are not kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from models.errors import StorageUnavailable
from models.jobs.cost import area
from models.provenance.signing import CROPPED, TRANSCODED, Claim, Parent, manifest_bytes
from service.api.crops import cropped
from service.api.decoding import Decoding, header_px
from service.api.formats import PNG, QUALITY, ImageFormat, convert
from service.api.stored_files import StoreReads
from service.backbone.objects.protocol import StoredObject
from service.backbone.provenance import Signing
from service.backbone.store import ImageStore
from service.jobs.images import stored_size

log = logging.getLogger(__name__)


class Conversions:
    """Converts the images in ``images``."""

    def __init__(self, decoding: Decoding, images: ImageStore, reads: StoreReads, signing: Signing) -> None:
        self._decoding, self._images, self._reads, self._signing = decoding, images, reads, signing

    async def of(
        self,
        image_id: str,
        png: bytes | StoredObject,
        target: ImageFormat,
        *,
        quality: int = QUALITY,
        is_progressive: bool = False,
    ) -> bytes:
        """The image ``image_id`` in the format ``target``; ``png`` is its stored file, or the bytes of that.

        The other arguments are those of :func:`~service.api.formats.convert`.

        Raises:
            FileNotFoundError: ``png`` was removed.
        """
        if target is PNG:
            return png if isinstance(png, bytes) else await self._reads.run(png.read)
        name = f"q{quality}{'p' if is_progressive else ''}.{target.extension}"
        kept = await self._reads.run(self._images.converted, image_id, name)
        if kept is not None:
            return kept
        change = partial(convert, target=target, quality=quality, is_progressive=is_progressive)
        px = header_px(png) if isinstance(png, bytes) else await self._reads.run(_stored_px, png)
        return await self._decoding.run(px, lambda: self._make(image_id, name, png, target, change))

    async def cropped(
        self, image_id: str, png: bytes, size: tuple[int, int], target: ImageFormat, *, quality: int = QUALITY
    ) -> bytes:
        """The middle of the image at ``size`` (width, height) in pixels, in the format ``target``; it is not kept."""

        def work() -> bytes:
            file = convert(cropped(png, size), target, quality=quality)
            return self._signed(image_id, png, file, target, [CROPPED])

        return await self._decoding.run(header_px(png), work)

    def _make(
        self, image_id: str, name: str, png: bytes | StoredObject, target: ImageFormat, change: partial[bytes]
    ) -> bytes:
        source = png if isinstance(png, bytes) else png.read()
        file = change(source)
        signed = self._signed(image_id, source, file, target, [TRANSCODED])
        return file if signed is file else self._kept(image_id, name, signed)

    def _signed(self, image_id: str, png: bytes, file: bytes, target: ImageFormat, actions: Sequence[str]) -> bytes:
        """``file`` with a manifest if ``png``, which it was made from, has one; else ``file`` itself."""
        if not manifest_bytes(png):
            return file
        claim = Claim(actions, parent=Parent(f"image:{image_id}", png))
        return self._signing.sign(file, target.media_type, claim)

    def _kept(self, image_id: str, name: str, signed: bytes) -> bytes:
        try:
            return self._images.keep_converted(image_id, name, signed)
        except StorageUnavailable as error:
            log.warning("a conversion of the image %s is not kept, and its next one will differ: %s", image_id, error)
            return signed


def _stored_px(stored: StoredObject) -> int:
    return area(stored_size(stored) or (0, 0))
