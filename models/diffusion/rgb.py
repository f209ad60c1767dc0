"""From RGB tensors to images: one computation on the device for a whole batch."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image


def to_levels(processor: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The levels 0..255 of a pipeline's RGB output [N, 3, H, W]: uint8 [N, H, W, 3], on the device of ``pixels``.

    The numbers are those of the pipeline's own ``image_processor.postprocess``, which waits for the device and rounds
    on the host.
    """
    unit: torch.Tensor = processor.postprocess(pixels, output_type="pt")
    return unit.permute(0, 2, 3, 1).float().mul(255).round().to(torch.uint8)


def to_image(levels: torch.Tensor) -> Image.Image:
    """An RGB image of ``levels``, uint8 [H, W, 3] in the host's memory, which are copied."""
    return Image.fromarray(levels.contiguous().numpy())
