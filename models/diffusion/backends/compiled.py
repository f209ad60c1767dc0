"""The UNet with its repeated blocks compiled by torch; the eager module is not changed."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D

from models.diffusion.backends.eager import call_unet
from models.diffusion.denoiser import Conditioning, Residuals

BLOCKS = (BasicTransformerBlock, ResnetBlock2D)
BUCKETS = (1, 2, 4, 8, 16)
"""Batches are padded to one of these sizes, larger ones to a multiple of the last."""
MAX_VARIANTS = 256
"""The number of shapes for which each type of block is compiled; blocks run uncompiled for further shapes."""


class CompiledDenoiser:
    """A UNet whose transformer and resnet blocks are compiled when they first run with a shape.

    On a GPU, blocks are compiled for each shape separately, which gives the fastest kernels, and batches are padded so
    that there are few shapes. On a CPU, padding would cost as much time as real inputs, and blocks are compiled for all
    shapes at once; torch still compiles separate variants for single inputs and for square latents.

    Args:
        unet: the UNet; its weights are shared, its modules are copied.
        fixed_shapes: whether to pad batches and compile for each shape separately.
    """

    name = "compiled"
    relative_error: float | None = None

    def __init__(self, unet: Any, *, fixed_shapes: bool) -> None:
        self._unet = _copy_modules(unet)
        self._fixed_shapes = fixed_shapes
        limits = torch._dynamo.config  # torch 2.11 has no argument of Module.compile for it
        limits.recompile_limit = max(limits.recompile_limit, MAX_VARIANTS)
        for module in self._unet.modules():
            if isinstance(module, BLOCKS):
                module.compile(dynamic=not fixed_shapes)

    @torch.inference_mode()
    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        count = len(latents)
        missing = bucket(count) - count if self._fixed_shapes else 0
        if missing == 0:
            return call_unet(self._unet, latents, timesteps, conditioning, residuals)
        padded = _pad_conditioning(conditioning, missing), _pad_residuals(residuals, missing)
        return call_unet(self._unet, _pad(latents, missing), _pad(timesteps, missing), *padded)[:count]


def bucket(count: int) -> int:
    """The size to which a batch of ``count`` inputs is padded."""
    return next((size for size in BUCKETS if size >= count), -(-count // BUCKETS[-1]) * BUCKETS[-1])


def _copy_modules(unet: Any) -> Any:
    """Copy the modules of ``unet`` but not its weights, so that compiling the copy does not change ``unet``."""
    tensors = itertools.chain(unet.parameters(), unet.buffers())
    return copy.deepcopy(unet, {id(tensor): tensor for tensor in tensors})


def _pad(tensor: torch.Tensor, missing: int) -> torch.Tensor:
    """Repeat the last input of ``tensor`` ``missing`` times."""
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])])


def _pad_conditioning(conditioning: Conditioning, missing: int) -> Conditioning:
    guidance = conditioning.guidance_embedding
    return Conditioning(
        _pad(conditioning.hidden_states, missing),
        None if guidance is None else _pad(guidance, missing),
        {name: _pad(tensor, missing) for name, tensor in conditioning.extra_kwargs.items()},
    )


def _pad_residuals(residuals: Residuals | None, missing: int) -> Residuals | None:
    if residuals is None:
        return None
    return Residuals(tuple(_pad(tensor, missing) for tensor in residuals.down), _pad(residuals.mid, missing))
