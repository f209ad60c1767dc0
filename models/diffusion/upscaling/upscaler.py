"""Upscalers: super-resolution and restoration models, loaded from one file onto one device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.diffusion.upscaling.pixels import to_unit
from models.diffusion.upscaling.weights import failure_to_load, read_model
from models.errors import ModelUnavailable

_PURPOSES = ("SR", "Restoration")


@dataclass(eq=False, frozen=True)
class Upscaler:
    """An upscaling model, which many jobs share."""

    descriptor: Any
    """spandrel's ``ImageModelDescriptor``, which pads inputs to the sizes that the model needs."""
    tile_px: int
    """The side of the tiles into which larger images are cut."""
    overlap_px: int
    backend: str = "eager"
    """What computes, by its name: torch, or a package."""

    @property
    def scale(self) -> int:
        """The factor by which the model enlarges width and height; 1 for restoration models."""
        return int(self.descriptor.scale)

    @property
    def device(self) -> torch.device:
        """The device of the model and of what it returns."""
        return torch.device(self.descriptor.device)

    @property
    def modules(self) -> list[nn.Module]:
        """All modules that take memory."""
        return [self.descriptor.model]

    @torch.inference_mode()
    def __call__(self, tiles: Tensor) -> Tensor:
        """Enlarge uint8 [n, 3, h, w] to float32 from 0 to 1 [n, 3, h * scale, w * scale] on the model's device."""
        values = to_unit(tiles, self.device, self.descriptor.dtype)
        enlarged: Tensor = self.descriptor(values)
        return enlarged.float()


def load_upscaler(path: Path, device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Load the weights in ``path`` onto ``device``; :func:`read_model` says which files are read.

    The model must take and return one RGB image: super-resolution (ESRGAN, Real-ESRGAN, Compact, SPAN, SwinIR, DAT,
    HAT and others) or restoration at the same size (SCUNet and others). A model that does not support ``dtype`` runs in
    float32.

    Raises:
        ModelUnavailable: the file cannot be read, or holds another type of model.
        OutOfMemory: the weights do not fit into the device's memory.
    """
    descriptor = read_model(path)
    problem = _validate(descriptor)
    if problem is not None:
        raise ModelUnavailable(f"{path.name} is no upscaler: {problem}", "upscaler")
    try:
        descriptor.to(device, _supported(descriptor, dtype))
    except Exception as error:
        raise failure_to_load(path, error) from error
    tile_px, overlap_px = (512, 32) if device.type == "cuda" else (128, 16)
    return Upscaler(descriptor, tile_px, overlap_px)


def _validate(descriptor: Any) -> str | None:
    if descriptor.purpose not in _PURPOSES:
        return f"{descriptor.architecture.name} is a model for {descriptor.purpose}"
    channels = (descriptor.input_channels, descriptor.output_channels)
    return None if channels == (3, 3) else "it takes {} and returns {} channels, not 3".format(*channels)


def _supported(descriptor: Any, dtype: torch.dtype) -> torch.dtype:
    unsupported = {torch.float16: not descriptor.supports_half, torch.bfloat16: not descriptor.supports_bfloat16}
    return torch.float32 if unsupported.get(dtype, False) else dtype
