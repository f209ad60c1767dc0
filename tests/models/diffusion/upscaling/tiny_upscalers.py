"""Upscalers in miniature with random weights, written to files in the layouts in which real ones are published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from models.diffusion.upscaling.architectures import import_spandrel

CPU = torch.device("cpu")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB image of random pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def esrgan(scale: int = 4, channels: int = 3) -> nn.Module:
    """ESRGAN with one block; it looks less than 20 px far."""
    import_spandrel()
    from spandrel.architectures.ESRGAN import ESRGAN

    model: nn.Module = ESRGAN(in_nc=channels, out_nc=channels, num_filters=8, num_blocks=1, scale=scale)
    return model


def compact() -> nn.Module:
    """Real-ESRGAN's small model for videos, at twice the size."""
    import_spandrel()
    from spandrel.architectures.Compact import Compact

    model: nn.Module = Compact(num_feat=8, num_conv=2, upscale=2)
    return model


def swin_ir() -> nn.Module:
    """SwinIR as trained for real photographs, at four times the size."""
    import_spandrel()
    from spandrel.architectures.SwinIR import SwinIR

    model: nn.Module = SwinIR(
        window_size=8, embed_dim=12, depths=[2], num_heads=[2], mlp_ratio=2, upscale=4, upsampler="nearest+conv"
    )
    return model


def scunet() -> nn.Module:
    """SCUNet, which keeps the size."""
    import_spandrel()
    from spandrel.architectures.SCUNet import SCUNet

    model: nn.Module = SCUNet(config=[1] * 7, dim=64)
    return model


TINY_UPSCALERS: Mapping[str, tuple[Callable[[], nn.Module], int]] = {
    "ESRGAN": (esrgan, 4), "Compact": (compact, 2), "SwinIR": (swin_ir, 4), "SCUNet": (scunet, 1),
}  # fmt: skip
"""What builds each one, and its scale."""


def write(build: Callable[[], nn.Module], path: Path, seed: int = 0) -> Path:
    """The weights of a new model, the same for the same ``seed``; how they are written is the suffix's matter."""
    torch.manual_seed(seed)
    weights = {name: each.detach().contiguous() for name, each in build().state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"params_ema": weights}, path)
    return path
