"""Preprocessors without weights, from RGB uint8 [H, W, 3] to RGB uint8 of the same size.

They compute what A1111's extension sd-webui-controlnet computes (``scripts/processor.py`` and ``annotator``), whose
condition images ControlNets are usually used with. The extension works at its own resolution and scales the result.
Here filters work at the image's size, so radii are in pixels of the drawn image.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_SQUARE_PX = 64
"""The side of the squares of ``color``."""
_WAVE_PX = 256
"""The distance between the points of the noise by which ``shuffle`` moves pixels."""


def canny(pixels: Pixels, low: float, high: float) -> Pixels:
    """White edges on black (Canny 1986): gradients above ``high``, and those above ``low`` connected to them."""
    return _grey(cv2.Canny(pixels, low, high))


def color(pixels: Pixels) -> Pixels:
    """Squares of 64 px in the local colour of the image; the condition of the T2I colour adapter."""
    height, width = pixels.shape[:2]
    squares = (max(1, width // _SQUARE_PX), max(1, height // _SQUARE_PX))
    few = cv2.resize(pixels, squares, interpolation=cv2.INTER_CUBIC)
    return _bytes(cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST))


def invert(pixels: Pixels) -> Pixels:
    """The negative image."""
    return _bytes(255 - pixels)


def lineart_standard(pixels: Pixels) -> Pixels:
    """How much darker each pixel is than its surroundings (sigma 6 px), scaled so that the median line is 127."""
    values = pixels.astype(np.float32)
    darker = (cv2.GaussianBlur(values, (0, 0), 6.0) - values).min(axis=2).clip(0, 255)
    lines = darker[darker > 8]
    median = max(16.0, float(np.median(lines))) if lines.size else 16.0
    return _grey((darker / median * 127).clip(0, 255))


def scribble_xdog(pixels: Pixels, threshold: float) -> Pixels:
    """White where all channels are darker than their surroundings by more than half of ``threshold`` grey levels.

    The difference of Gaussians with sigma 0.5 and 5 px: XDoG (Winnemöller et al. 2012) with a hard threshold.
    """
    values = pixels.astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(values, (0, 0), sigma) for sigma in (0.5, 5.0))
    darker = np.ceil((coarse - fine).min(axis=2).clip(0, 255))
    return _black_and_white(2 * darker > threshold)


def shuffle(pixels: Pixels, seed: int) -> Pixels:
    """Each pixel is taken from another place, which varies smoothly over the image and depends only on ``seed``."""
    generator = np.random.default_rng(seed)
    height, width = pixels.shape[:2]
    across, down = (_waves(generator, height, width) * (side - 1) for side in (width, height))
    return _bytes(cv2.remap(pixels, across, down, cv2.INTER_LINEAR))


def threshold(pixels: Pixels, level: float) -> Pixels:
    """White where all channels are above ``level``, otherwise black."""
    return _black_and_white(pixels.min(axis=2) > level)


def tile_resample(pixels: Pixels, rate: float) -> Pixels:
    """Scaled down by ``rate`` (area average) and up again (cubic); unchanged if ``rate`` is below 1.1."""
    if rate < 1.1:
        return pixels
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, (max(1, int(width / rate)), max(1, int(height / rate))), interpolation=cv2.INTER_AREA)
    return _bytes(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def _waves(generator: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Smooth noise [height, width] with minimum 0 and maximum 1."""
    points = generator.uniform(size=(height // _WAVE_PX + 2, width // _WAVE_PX + 2)).astype(np.float32)
    wide = cv2.resize(points, (width + 2 * _WAVE_PX, height + 2 * _WAVE_PX), interpolation=cv2.INTER_CUBIC)
    noise = wide[_WAVE_PX : _WAVE_PX + height, _WAVE_PX : _WAVE_PX + width]
    normalised: NDArray[np.float32] = (noise - noise.min()) / (noise.max() - noise.min())
    return normalised


def _bytes(values: object) -> Pixels:
    return np.asarray(values, dtype=np.uint8)


def _grey(values: object) -> Pixels:
    """From one channel [H, W] to grey RGB [H, W, 3]; fractions are cut off."""
    return np.repeat(_bytes(values)[:, :, None], 3, axis=2)


def _black_and_white(is_white: object) -> Pixels:
    return _grey(np.where(np.asarray(is_white), 255, 0))
