"""Putting an image together from bands of rows, which come from top to bottom, at another size than they have."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from models.diffusion.upscaling.pixels import to_image
from models.diffusion.upscaling.strips import STRIP_PX, Rescaling


class Bands:
    """Makes each part of the result as soon as its rows are there, so that the source is never whole in memory.

    Args:
        source: width and height in pixels of all bands together.
        size: width and height in pixels of the result.
    """

    def __init__(self, source: tuple[int, int], size: tuple[int, int], strip_px: int = STRIP_PX) -> None:
        self.image = Image.new("RGB", size, None)
        """The result; its lower part is undefined until all bands are there."""
        self._rescaling = Rescaling(source, size)
        self._pending = self._rescaling.strips(strip_px)
        self._rows = Image.new("RGB", (source[0], 0))
        self._top = 0

    def add(self, band: Tensor) -> None:
        """Add the next rows, uint8 [3, height, width]."""
        added = to_image(band)
        if self._rescaling.source == self._rescaling.target:
            self.image.paste(added, (0, self._top))
            self._top += added.height
            return
        self._rows = _below(self._rows, added)
        while self._pending and self._rescaling.rows_needed(self._pending[0]).bottom <= self._top + self._rows.height:
            strip = self._pending.pop(0)
            self.image.paste(self._rescaling.resize(self._rows, strip, self._top), (0, strip.top))
        self._drop_rows()

    def _drop_rows(self) -> None:
        """Forget the rows above those that the next strip needs."""
        bottom = self._top + self._rows.height
        top = self._rescaling.rows_needed(self._pending[0]).top if self._pending else bottom
        top = max(self._top, min(top, bottom))
        self._rows = self._rows.crop((0, top - self._top, self._rows.width, self._rows.height))
        self._top = top


def _below(upper: Image.Image, lower: Image.Image) -> Image.Image:
    if not upper.height:
        return lower
    both = Image.new("RGB", (lower.width, upper.height + lower.height), None)
    both.paste(upper, (0, 0))
    both.paste(lower, (0, upper.height))
    return both
