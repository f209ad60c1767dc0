"""How an image is cut into overlapping tiles, and with which weights their enlargements add up without seams."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """One axis of an image, cut into equally long tiles that overlap by at least ``overlap_px``.

    Of every overlap the outer quarters are discarded, for there the model missed what lies beyond the tile's border,
    and the middle half is cross-faded. A model that looks no farther than a quarter of the overlap so gives exactly
    what it gives for the whole image.
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
        """Where the tiles begin: as few as possible, spread evenly, the last one ending where the image ends."""
        spare_px = self.length_px - self.tile_px
        if spare_px == 0:
            return (0,)
        gaps = ceil(spare_px / (self.tile_px - self.overlap_px))
        return tuple(spare_px * index // gaps for index in range(gaps + 1))

    def weights(self, scale: int) -> Tensor:
        """How much each tile's enlarged pixels count [tiles, tile_px * scale]; for each pixel they add up to 1."""
        weights = torch.stack([self._ramp(start, scale) for start in self.starts])
        total = torch.zeros(self.length_px * scale)
        spans = [slice(start * scale, (start + self.tile_px) * scale) for start in self.starts]
        for span, each in zip(spans, weights, strict=True):
            total[span] += each
        return torch.stack([each / total[span] for span, each in zip(spans, weights, strict=True)])

    def _ramp(self, start: int, scale: int) -> Tensor:
        """From 0 to 1 over the middle half of the overlap, but at the image's own borders."""
        from_start_px = (torch.arange(self.tile_px * scale) + 0.5) / scale
        ramp = ((from_start_px - self.overlap_px / 4) / (self.overlap_px / 2)).clamp(0, 1)
        weights = torch.ones_like(ramp)
        if start > 0:
            weights *= ramp
        if start + self.tile_px < self.length_px:
            weights *= ramp.flip(0)
        return weights
