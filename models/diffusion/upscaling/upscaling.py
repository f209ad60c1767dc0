"""Upscaling one image: with an upscaler, tile by tile, or by plain resampling."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from types import MappingProxyType

import torch
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

from models.diffusion.upscaling.pixels import from_unit, to_bytes, to_image
from models.diffusion.upscaling.postprocess import Postprocess
from models.diffusion.upscaling.tiles import Cut
from models.diffusion.upscaling.upscaler import Upscaler
from models.errors import DrawingFailed

FILTERS: Mapping[str, Resampling] = MappingProxyType({"Lanczos": Resampling.LANCZOS, "Nearest": Resampling.NEAREST})
"""The built-in upscalers and their filters in Pillow."""


class Upscaling(Postprocess):
    """Enlarges an image with an upscaler, one tile in each step.

    The model enlarges by its own scale; a Lanczos filter then resizes to exactly ``scale``. Until the last step the
    work holds 12 bytes for each pixel at the model's scale.

    Args:
        image: RGB, of any size.
        scale: the result has round(width * scale) x round(height * scale) pixels.

    Raises:
        ValueError: the image is not RGB.
    """

    def __init__(self, image: Image.Image, scale: float, upscaler: Upscaler) -> None:
        self.model = upscaler
        self._source = to_bytes(image)
        self._size = enlarged_size(image, scale)
        self._rows, self._columns = (
            Cut(length, min(upscaler.tile_px, length), upscaler.overlap_px) for length in self._source.shape[1:]
        )
        self._native_scale = native = upscaler.scale
        self._row_weights, self._column_weights = self._rows.weights(native), self._columns.weights(native)
        self._canvas = torch.zeros(3, self._rows.length_px * native, self._columns.length_px * native)
        self.steps = len(self._rows.starts) * len(self._columns.starts)

    @property
    def group_key(self) -> Hashable:
        return self.model, self._rows.tile_px, self._columns.tile_px

    def next_input(self) -> Tensor:
        row, column = self._place()
        return _window(self._source, self._rows, self._columns, row, column, 1)[None]

    def advance(self, output: Tensor) -> None:
        if not output.isfinite().all():
            raise DrawingFailed("the upscaler's output is not finite")
        row, column = self._place()
        weights = self._row_weights[row, :, None] * self._column_weights[column]
        _window(self._canvas, self._rows, self._columns, row, column, self._native_scale).add_(output[0] * weights)
        self.step += 1

    def image(self) -> Image.Image:
        enlarged = to_image(from_unit(self._canvas))
        return enlarged if enlarged.size == self._size else enlarged.resize(self._size, Resampling.LANCZOS)

    def _place(self) -> tuple[int, int]:
        """The row and column of the next tile."""
        return divmod(self.step, len(self._columns.starts))


class Resizing(Postprocess):
    """Enlarges an image with a built-in upscaler, in one step and without weights.

    Args:
        image: RGB, of any size.
        scale: the result has round(width * scale) x round(height * scale) pixels.
        name: one of ``FILTERS``.

    Raises:
        ValueError: the image is not RGB.
    """

    steps = 1

    def __init__(self, image: Image.Image, scale: float, name: str) -> None:
        self._source = to_bytes(image)
        self._size = enlarged_size(image, scale)
        self._name = name
        self.model = partial(_resize, size=self._size, resampling=FILTERS[name])

    @property
    def group_key(self) -> Hashable:
        return self._name, self._source.shape, self._size

    def next_input(self) -> Tensor:
        return self._source[None]

    def advance(self, output: Tensor) -> None:
        self._source = output[0]
        self.step += 1

    def image(self) -> Image.Image:
        return to_image(self._source)


def enlarged_size(image: Image.Image, scale: float) -> tuple[int, int]:
    """Width and height in pixels of ``image``, enlarged by ``scale``."""
    return round(image.width * scale), round(image.height * scale)


def _window(pixels: Tensor, rows: Cut, columns: Cut, row: int, column: int, scale: int) -> Tensor:
    """The view of ``pixels`` [3, height * scale, width * scale] that one tile covers."""
    top, left = rows.starts[row] * scale, columns.starts[column] * scale
    return pixels[:, top : top + rows.tile_px * scale, left : left + columns.tile_px * scale]


def _resize(pixels: Tensor, size: tuple[int, int], resampling: Resampling) -> Tensor:
    return torch.stack([to_bytes(to_image(each).resize(size, resampling)) for each in pixels])
