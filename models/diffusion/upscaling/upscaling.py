"""Upscaling one image: with an upscaler, tile by tile, or by plain resampling."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType

import torch
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor

from models.diffusion.upscaling.bands import Bands
from models.diffusion.upscaling.pixels import are_finite, from_unit, to_bytes
from models.diffusion.upscaling.postprocess import ImageWork, Postprocess
from models.diffusion.upscaling.strips import STRIP_PX, Rescaling
from models.diffusion.upscaling.tiles import Cut
from models.diffusion.upscaling.upscaler import Upscaler
from models.errors import DrawingFailed, JobFailure

FILTERS: Mapping[str, Resampling] = MappingProxyType({"Lanczos": Resampling.LANCZOS, "Nearest": Resampling.NEAREST})
"""The built-in upscalers and their filters in Pillow."""


class Upscaling(Postprocess):
    """Enlarges an image with an upscaler, one tile in each step.

    The model enlarges by its own scale; a Lanczos filter then resizes to exactly ``scale``. Only one row of tiles is
    held in float at the model's scale, on the model's device: as soon as a row is complete, it is copied as bytes, and
    its part of the result is made.

    Args:
        image: RGB, of any size.
        scale: the result has round(width * scale) x round(height * scale) pixels.

    Raises:
        ValueError: the image is not RGB.
    """

    def __init__(self, image: Image.Image, scale: float, upscaler: Upscaler) -> None:
        self.model, self.device, self.backend = upscaler, upscaler.device, upscaler.backend
        self._source = to_bytes(image)
        self._rows, self._columns = (
            Cut(length, min(upscaler.tile_px, length), upscaler.overlap_px) for length in self._source.shape[1:]
        )
        self._native_scale = native = upscaler.scale
        self._row_weights = self._rows.weights(native).to(self.device)
        self._column_weights = self._columns.weights(native).to(self.device)
        native_size = (self._columns.length_px * native, self._rows.length_px * native)
        self._bands = Bands(native_size, enlarged_size(image, scale))
        self._band = torch.zeros(3, self._rows.tile_px * native, native_size[0], device=self.device)
        self.steps = len(self._rows.starts) * len(self._columns.starts)

    @property
    def group_key(self) -> Hashable:
        return self.model, self._rows.tile_px, self._columns.tile_px

    def next_input(self) -> Tensor:
        row, column = self._place()
        top, left = self._rows.starts[row], self._columns.starts[column]
        return self._source[None, :, top : top + self._rows.tile_px, left : left + self._columns.tile_px]

    def take_step(self, output: Tensor) -> None:
        row, column = self._place()
        weights = self._row_weights[row, :, None] * self._column_weights[column]
        left, width = self._columns.starts[column] * self._native_scale, output.shape[-1]
        self._band[:, :, left : left + width].add_(output[0] * weights)
        self.step += 1
        if column + 1 == len(self._columns.starts):
            self._complete_row(row)

    def image(self) -> Image.Image:
        return self._bands.image

    def _complete_row(self, row: int) -> None:
        """Hand over what no later tile adds to, and keep what the next row of tiles overlaps.

        Raises:
            DrawingFailed: a value of a tile is not finite, and neither is the sum that it was added to.
        """
        starts = (*self._rows.starts, self._rows.length_px)
        done = (starts[row + 1] - starts[row]) * self._native_scale
        if not are_finite(self._band[:, :done]):
            raise DrawingFailed("the upscaler's output is not finite")
        self._bands.add(from_unit(self._band[:, :done]))
        kept = self._band[:, done:].clone()
        self._band.zero_()
        self._band[:, : kept.shape[1]] = kept

    def _place(self) -> tuple[int, int]:
        """The row and column of the next tile."""
        return divmod(self.step, len(self._columns.starts))


class Resizing(ImageWork):
    """Enlarges an image with a built-in upscaler, a strip of about ``strip_px`` pixels in each step, without weights.

    Args:
        image: RGB, of any size.
        scale: the result has round(width * scale) x round(height * scale) pixels.
        name: one of ``FILTERS``.

    Raises:
        ValueError: the image is not RGB.
    """

    def __init__(self, image: Image.Image, scale: float, name: str, strip_px: int = STRIP_PX) -> None:
        if image.mode != "RGB":
            raise ValueError(f"the image must be RGB, not {image.mode}")
        self._source, self._name = image, name
        size = enlarged_size(image, scale)
        self._rescaling = Rescaling(image.size, size)
        self._strips = self._rescaling.strips(strip_px if name == "Lanczos" else size[0] * size[1])
        self._result = Image.new("RGB", size, None)
        self._group = object()  # equal for no other piece of work, and unlike this one without the image
        self.steps = len(self._strips)

    @property
    def group_key(self) -> Hashable:
        return self._group

    @property
    def cost_key(self) -> Hashable:
        return self._name

    def forward(self, batch: Sequence[Resizing]) -> list[Tensor | JobFailure]:
        """Nothing, since no model runs: :meth:`take_step` resizes the next strip."""
        return [torch.empty(0) for _ in batch]

    def take_step(self, output: Tensor) -> None:
        strip = self._strips[self.step]
        if self._name == "Lanczos":
            part = self._rescaling.resize(self._source, strip)
        else:
            part = self._source.resize(self._result.size, FILTERS[self._name])
        self._result.paste(part, (0, strip.top))
        self.step += 1

    def image(self) -> Image.Image:
        return self._result


def enlarged_size(image: Image.Image, scale: float) -> tuple[int, int]:
    """Width and height in pixels of ``image``, enlarged by ``scale``."""
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))
