"""Images that are made up but look alike to photographs in their statistics, for models that see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image as pillow
from PIL import ImageDraw
from PIL.Image import Image

SIZES = ((320, 256), (256, 320), (288, 288))
_FALLOFF = 1.2
"""How fast amplitudes fall with the frequency; about 1 in photographs (Field 1987)."""
_SHAPES = 6


def scenes(count: int, seed: int = 0, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Image]:
    """``count`` RGB images of ``sizes`` in turn: clouds of colour with shapes before them, all different."""
    return [_scene(np.random.default_rng((seed, number)), sizes[number % len(sizes)]) for number in range(count)]


def _scene(generator: np.random.Generator, size: tuple[int, int]) -> Image:
    image = pillow.fromarray(_clouds(generator, size))
    pen = ImageDraw.Draw(image)
    for _ in range(_SHAPES):
        (left, right), (top, bottom) = (sorted(generator.integers(0, side, 2).tolist()) for side in size)
        draw = (pen.rectangle, pen.ellipse)[int(generator.integers(2))]
        draw((left, top, right, bottom), fill=tuple(generator.integers(0, 256, 3).tolist()))
    return image


def _clouds(generator: np.random.Generator, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Noise whose amplitudes fall with the frequency: uint8 [height, width, 3]."""
    width, height = size
    across, down = np.meshgrid(np.fft.fftfreq(width), np.fft.fftfreq(height))
    amplitude = 1 / np.maximum(np.hypot(across, down), 1 / max(size)) ** _FALLOFF
    spectrum = np.fft.fft2(generator.normal(size=(3, height, width))) * amplitude
    planes = np.fft.ifft2(spectrum).real
    planes = (planes - planes.mean((1, 2), keepdims=True)) / planes.std((1, 2), keepdims=True)
    levels: npt.NDArray[np.uint8] = np.clip(128 + 55 * planes, 0, 255).astype(np.uint8)
    return levels.transpose(1, 2, 0)
