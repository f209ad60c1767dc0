"""Denoising as pieces of work for the engine: one ends with an image, the other with latents for another model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL.Image import Image

from models.diffusion.decoding import decode
from models.diffusion.denoising import Denoising
from models.diffusion.forwards import predict
from models.diffusion.stepping.advance import advance
from models.errors import JobFailure


@dataclass(eq=False, kw_only=True)
class DenoisingToImage(Denoising):
    """Denoises and decodes one image; a ``Work[Image]``."""

    def forward(self, batch: Sequence[DenoisingToImage]) -> list[torch.Tensor | JobFailure]:
        """The raw model output [inputs, ...] of each image in ``batch``."""
        return predict(batch)

    def advance(self, batch: Sequence[DenoisingToImage], outputs: Sequence[torch.Tensor]) -> list[JobFailure | None]:
        """Take one step of each image in ``batch``."""
        return advance(batch, outputs)

    def finish(self, batch: Sequence[DenoisingToImage]) -> list[Image | JobFailure]:
        """The images of ``batch``, decoded together."""
        return decode(batch)


@dataclass(eq=False, kw_only=True)
class DenoisingToLatents(Denoising):
    """Denoises one image in part, up to a ``denoising_end``; a ``Work[Tensor]``."""

    def forward(self, batch: Sequence[DenoisingToLatents]) -> list[torch.Tensor | JobFailure]:
        """The raw model output [inputs, ...] of each image in ``batch``."""
        return predict(batch)

    def advance(self, batch: Sequence[DenoisingToLatents], outputs: Sequence[torch.Tensor]) -> list[JobFailure | None]:
        """Take one step of each image in ``batch``."""
        return advance(batch, outputs)

    def finish(self, batch: Sequence[DenoisingToLatents]) -> list[torch.Tensor]:
        """The latents [1, ...] of each image, still noisy."""
        return [each.latents for each in batch]
