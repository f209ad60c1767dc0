"""Input images for jobs, and the difference between two images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

PSNR_EQUAL_DB = 99.0
"""The PSNR reported for equal images, instead of infinity."""


@dataclass(frozen=True)
class Difference:
    """The difference between two images of the same size."""

    worst: int
    """The largest difference of any channel of any pixel, of 255."""
    mean: float
    psnr_db: float

    @classmethod
    def between(cls, first: Image.Image, second: Image.Image) -> Difference:
        """The difference between ``first`` and ``second``, both RGB."""
        off = np.abs(np.asarray(first).astype(int) - np.asarray(second).astype(int))
        mse = float((off.astype(float) ** 2).mean())
        psnr_db = min(PSNR_EQUAL_DB, 10 * math.log10(255**2 / mse)) if mse else PSNR_EQUAL_DB
        return cls(int(off.max()), float(off.mean()), psnr_db)


def photo(px: int) -> Image.Image:
    """An RGB image of ``px`` x ``px`` with edges, gradients and colours."""
    y, x = np.mgrid[0:px, 0:px] * 256 // px
    image = Image.fromarray(np.stack([x, y, x ^ y], axis=-1).astype(np.uint8))
    ImageDraw.Draw(image).ellipse((px // 6, px // 3, px * 2 // 3, px * 4 // 5), fill="orange")
    return image


def mask(px: int) -> Image.Image:
    """A mask of ``px`` x ``px``, white in a box whose edges do not align with the latents."""
    image = Image.new("L", (px, px))
    ImageDraw.Draw(image).rectangle((px // 5, px // 3, px * 7 // 10, px * 4 // 5), fill="white")
    return image
