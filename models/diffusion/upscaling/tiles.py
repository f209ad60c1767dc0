"""Cutting an image into overlapping tiles, and the weights with which enlarged tiles add up without seams."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """One axis of an image, cut into tiles of equal length that overlap by at least ``overlap_px``.

    The outer quarter of each overlap is discarded, because the model could not see beyond the border of the tile. The
    middle half is cross-faded. So a model whose receptive field reaches at most a quarter of the overlap gives exactly
    the result that it gives for the whole image.
    """

    length_px: int
    tile_px: int
    """At most ``length_px``."""
    overlap_px: int

    def __post_init__(self) -> None:
        if not 0 < self.overlap_px < self.tile_px and self.tile_px < self.length_px:
            raise ValueError(f"tiles of {self.tile_px} px cannot overlap by {self.overlap_px} px")

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The starts of the tiles: as few tiles as possible, spread evenly; the last one ends at the image's border."""
        spare_px = self.length_px - self.tile_px
        if spare_px == 0:
            return (0,)
        gaps = ceil(spare_px / (self.tile_px - self.overlap_px))
        return tuple(spare_px * index // gaps for index in range(gaps + 1))

    def weights(self, scale: int) -> Tensor:
        """The weights [tiles, tile_px * scale] of the tiles' enlarged pixels; for each pixel they add up to 1."""
        weights = torch.stack([self._ramp(start, scale) for start in self.starts])
        total = torch.zeros(self.length_px * scale)
        spans = [slice(start * scale, (start + self.tile_px) * scale) for start in self.starts]
        for span, each in zip(spans, weights, strict=True):
            total[span] += each
        return torch.stack([each / total[span] for span, each in zip(spans, weights, strict=True)])

    def _ramp(self, start: int, scale: int) -> Tensor:
        """From 0 to 1 over the middle half of each overlap; 1 at the borders of the image."""
        from_start_px = (torch.arange(self.tile_px * scale) + 0.5) / scale
        ramp = ((from_start_px - self.overlap_px / 4) / (self.overlap_px / 2)).clamp(0, 1)
        weights = torch.ones_like(ramp)
        if start > 0:
            weights *= ramp
        if start + self.tile_px < self.length_px:
            weights *= ramp.flip(0)
        return weights
