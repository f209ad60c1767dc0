"""The preprocessors that need no weights: arithmetic on pixels, RGB uint8 [H, W, 3] in and out, the size kept.

What each computes is defined by A1111's extension sd-webui-controlnet (``scripts/processor.py`` and ``annotator``),
on whose condition images the ControlNets are usually run. It works at a resolution of its own and scales the result;
here everything happens at the image's size, so that radii are in the pixels of the image that is drawn.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_SQUARE_PX = 64
"""The side of ``color``'s squares."""
_WAVE_PX = 256
"""How far apart the points are whose new places ``shuffle`` draws."""


def canny(pixels: Pixels, low: float, high: float) -> Pixels:
    """White edges on black (Canny 1986): gradients above ``high``, and those above ``low`` that touch them."""
    return _grey(cv2.Canny(pixels, low, high))


def color(pixels: Pixels) -> Pixels:
    """Squares of 64 px in the colours of the image there; the T2I colour adapter's condition."""
    height, width = pixels.shape[:2]
    squares = (max(1, width // _SQUARE_PX), max(1, height // _SQUARE_PX))
    few = cv2.resize(pixels, squares, interpolation=cv2.INTER_CUBIC)
    return _bytes(cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST))


def invert(pixels: Pixels) -> Pixels:
    """The negative."""
    return _bytes(255 - pixels)


def lineart_standard(pixels: Pixels) -> Pixels:
    """How much darker each pixel is than around (sigma 6 px), the darkest channel's; a usual line comes out as 127."""
    values = pixels.astype(np.float32)
    darker = (cv2.GaussianBlur(values, (0, 0), 6.0) - values).min(axis=2).clip(0, 255)
    lines = darker[darker > 8]
    usual = max(16.0, float(np.median(lines))) if lines.size else 16.0
    return _grey((darker / usual * 127).clip(0, 255))


def scribble_xdog(pixels: Pixels, threshold: float) -> Pixels:
    """White where all channels are darker than around by more than half of ``threshold`` grey levels.

    Difference of Gaussians, sigma 0.5 and 5 px: XDoG (Winnemöller et al. 2012) without its soft ramp.
    """
    values = pixels.astype(np.float32)
    fine, coarse = (cv2.GaussianBlur(values, (0, 0), sigma) for sigma in (0.5, 5.0))
    darker = np.ceil((coarse - fine).min(axis=2).clip(0, 255))
    return _black_and_white(2 * darker > threshold)


def shuffle(pixels: Pixels, seed: int) -> Pixels:
    """Each pixel taken from a place that drifts smoothly over the whole image; the same ``seed``, the same places."""
    generator = np.random.default_rng(seed)
    height, width = pixels.shape[:2]
    across, down = (_waves(generator, height, width) * (side - 1) for side in (width, height))
    return _bytes(cv2.remap(pixels, across, down, cv2.INTER_LINEAR))


def threshold(pixels: Pixels, level: float) -> Pixels:
    """White where all channels are above ``level``, black elsewhere."""
    return _black_and_white(pixels.min(axis=2) > level)


def tile_resample(pixels: Pixels, rate: float) -> Pixels:
    """Scaled down by ``rate`` by averaging areas, up again by cubic interpolation; below 1.1 it stays as it is."""
    if rate < 1.1:
        return pixels
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, (max(1, int(width / rate)), max(1, int(height / rate))), interpolation=cv2.INTER_AREA)
    return _bytes(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def _waves(generator: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Smooth noise [height, width] that spans 0..1."""
    points = generator.uniform(size=(height // _WAVE_PX + 2, width // _WAVE_PX + 2)).astype(np.float32)
    wide = cv2.resize(points, (width + 2 * _WAVE_PX, height + 2 * _WAVE_PX), interpolation=cv2.INTER_CUBIC)
    noise = wide[_WAVE_PX : _WAVE_PX + height, _WAVE_PX : _WAVE_PX + width]
    spanned: NDArray[np.float32] = (noise - noise.min()) / (noise.max() - noise.min())
    return spanned


def _bytes(values: object) -> Pixels:
    return np.asarray(values, dtype=np.uint8)


def _grey(values: object) -> Pixels:
    """RGB [H, W, 3] from one channel [H, W]; fractions are cut off."""
    return np.repeat(_bytes(values)[:, :, None], 3, axis=2)


def _black_and_white(is_white: object) -> Pixels:
    return _grey(np.where(np.asarray(is_white), 255, 0))
