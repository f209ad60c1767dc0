"""Resizing an image in strips: the same pixels as in one call, in pieces of bounded time and memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image
from PIL.Image import Resampling

STRIP_PX = 1 << 22
"""How many pixels of the result one strip has at most, unless a single row has more; a strip takes about 0.1 s."""
_REACH_PX = 3
"""How far the Lanczos filter reaches in the source, where it enlarges; where it shrinks, in the result."""


@dataclass(frozen=True)
class Strip:
    """Some rows of the result."""

    top: int
    bottom: int
    """One below the last row."""


@dataclass(frozen=True)
class Rescaling:
    """An image of ``source`` pixels (width, height) that a Lanczos filter resizes to ``target``."""

    source: tuple[int, int]
    target: tuple[int, int]

    def strips(self, strip_px: int) -> list[Strip]:
        """Strips of nearly equal height, each of about ``strip_px`` pixels, that cover the result."""
        width, height = self.target
        count = min(height, math.ceil(width * height / strip_px))
        return [Strip(height * index // count, height * (index + 1) // count) for index in range(count)]

    def rows_needed(self, strip: Strip) -> Strip:
        """The rows of the source that ``strip`` is made of."""
        reach = math.ceil(_REACH_PX * max(self._ratio, 1.0)) + 1
        top, bottom = math.floor(strip.top * self._ratio) - reach, math.ceil(strip.bottom * self._ratio) + reach
        return Strip(max(0, top), min(self.source[1], bottom))

    def resize(self, image: Image.Image, strip: Strip, top: int = 0) -> Image.Image:
        """The rows ``strip`` of the result: Pillow's own result if one strip covers it, else equal to it in rounding.

        The passes are made one by one, rows first, as Pillow does when it enlarges; left to itself, it chooses their
        order by the sizes that it is given.

        Args:
            image: the source, or a part of its rows that has those that the strip needs.
            top: the row of the source with which ``image`` begins.
        """
        if strip == Strip(0, self.target[1]):
            return image.resize(self.target, Resampling.LANCZOS)
        width, needed = self.target[0], self.rows_needed(strip)
        rows = image.crop((0, needed.top - top, self.source[0], needed.bottom - top))
        wide = rows.resize((width, rows.height), Resampling.LANCZOS)
        first, last = (edge * self._ratio - needed.top for edge in (strip.top, strip.bottom))
        box = (0, max(0.0, first), width, min(last, rows.height))
        return wide.resize((width, strip.bottom - strip.top), Resampling.LANCZOS, box)

    @property
    def _ratio(self) -> float:
        """The height of one row of the result, in rows of the source."""
        return self.source[1] / self.target[1]
