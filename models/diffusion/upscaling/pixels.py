"""Conversions between Pillow images and tensors of pixels."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_bytes(image: Image.Image) -> Tensor:
    """From an RGB image to uint8 [3, height, width].

    Raises:
        ValueError: the image is not RGB; callers convert transparency and palettes.
    """
    if image.mode != "RGB":
        raise ValueError(f"the image must be RGB, not {image.mode}")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def to_image(pixels: Tensor) -> Image.Image:
    """From uint8 [3, height, width] to an RGB image."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def to_unit(pixels: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """From uint8 to ``dtype`` from 0 to 1 on ``device``."""
    return pixels.to(device).to(dtype) / 255


def from_unit(values: Tensor) -> Tensor:
    """From 0 to 1 [3, height, width] on any device to uint8 of the same shape on the CPU, rounded to the nearest.

    The device rounds, and arranges the pixels as :func:`to_image` needs them, so that a byte for each value is copied.
    """
    pixels = (values * 255).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().cpu().permute(2, 0, 1)


def are_finite(values: Tensor) -> bool:
    """Whether no value is infinite or NaN, with one pass and no copy of ``values``; waits for their device."""
    least, greatest = values.aminmax()  # NaN if any value is NaN
    return bool((least.isfinite() & greatest.isfinite()).item())
