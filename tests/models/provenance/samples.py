"""Images with the statistics of photographs, and flat ones, for tests of marks."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


def photograph(side: int, seed: int = 0, exponent: float = 1.2) -> Image.Image:
    """Noise whose amplitude falls with the frequency, as in photographs, with a few discs in front."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    frequency[0, 0] = 1
    planes = [np.fft.ifft2(np.fft.fft2(random.normal(size=(side, side))) / frequency**exponent).real for _ in range(4)]
    mixed = [planes[0] + 0.4 * plane for plane in planes[1:]]
    levels = [np.clip(128 + 55 * (plane - plane.mean()) / plane.std(), 0, 255) for plane in mixed]
    return discs(Image.fromarray(np.stack(levels, -1).astype(np.uint8)), seed)


def icon(side: int, seed: int = 0) -> Image.Image:
    """Flat discs on white."""
    return discs(Image.new("RGB", (side, side), "white"), seed)


def discs(image: Image.Image, seed: int) -> Image.Image:
    random, pen = np.random.default_rng(seed), ImageDraw.Draw(image)
    for _ in range(5):
        x, y, radius = (int(value) for value in random.integers(0, image.width, 3))
        radius = radius // 4 + 5
        color = tuple(int(value) for value in random.integers(0, 255, 3))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
    return image


def encoded(image: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()
