"""Images that are made up: some are alike to photographs in their statistics, others are drawings on a plain ground."""

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
_STROKES_MAX = 3


def scenes(count: int, seed: int = 0, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Image]:
    """``count`` RGB images of ``sizes`` in turn: clouds of colour with shapes before them, all different."""
    return [_scene(np.random.default_rng((seed, number)), sizes[number % len(sizes)]) for number in range(count)]


def drawings(count: int, seed: int = 0, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Image]:
    """``count`` RGB images of ``sizes`` in turn: strokes on a plain ground, mostly dark on light."""
    return [_drawing(np.random.default_rng((seed, number, 1)), sizes[number % len(sizes)]) for number in range(count)]


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


def _drawing(generator: np.random.Generator, size: tuple[int, int]) -> Image:
    is_light = generator.random() < 0.75
    image = pillow.new("RGB", size, (int(generator.integers(*((224, 256) if is_light else (0, 32)))),) * 3)
    pen = ImageDraw.Draw(image)
    for _ in range(int(generator.integers(1, _STROKES_MAX + 1))):
        grey = (int(generator.integers(*((0, 96) if is_light else (160, 256)))),) * 3
        ink = grey if generator.integers(2) else tuple(generator.integers(0, 256, 3).tolist())
        width, turn = int(generator.integers(6, 40)), sorted(generator.integers(0, 360, 2).tolist())
        (left, right), (top, bottom) = (
            sorted(generator.integers(side // 8, side - side // 8, 2).tolist()) for side in size
        )
        box, which = (left, top, right, bottom), int(generator.integers(4))
        if which == 0:
            pen.line(box, ink, width)
        elif which == 1:
            pen.arc(box, turn[0], turn[1], ink, width)
        else:
            pen.ellipse(box, ink if which == 2 else None, ink, width)
    return image
