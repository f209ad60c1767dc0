"""Between Pillow's images and tensors of pixels."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_bytes(image: Image.Image) -> Tensor:
    """An RGB image as uint8 [3, height, width].

    Raises:
        ValueError: the image is not RGB; transparency and palettes must have been resolved before.
    """
    if image.mode != "RGB":
        raise ValueError(f"an RGB image is needed, this one is {image.mode}")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def to_image(pixels: Tensor) -> Image.Image:
    """uint8 [3, height, width] as an RGB image."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def to_unit(pixels: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """uint8 values as numbers from 0 to 1 on ``device``."""
    return pixels.to(device).to(dtype) / 255


def from_unit(values: Tensor) -> Tensor:
    """Numbers from 0 to 1 as uint8 values, rounded to the nearest."""
    return (values * 255).round_().clamp_(0, 255).to(torch.uint8)
