"""The UNet with its repeated blocks compiled by torch; the eager module is not changed."""

from __future__ import annotations

import copy
import itertools
import logging
import time
from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D

from models.diffusion.backends.eager import call_unet
from models.diffusion.backends.inputs import seeded_inputs
from models.diffusion.denoiser import Conditioning, InputShape, Residuals, computed_inputs
from models.diffusion.devices import synchronize
from models.diffusion.failures import is_out_of_memory
from models.errors import OutOfMemory

log = logging.getLogger(__name__)

BLOCKS = (BasicTransformerBlock, ResnetBlock2D)
BUCKETS = (2, 8, 16, 4, 32, 12, 24, 6, 20, 28, 1)
"""The sizes of batches that blocks are compiled for, in this order: if time runs out, the rest is padded to larger
ones. More than 32 inputs in one forward gain nothing on the GPUs that were measured."""
WARM_UP_S = 300.0
"""No further size is compiled after this time. The first takes half a minute for SD 1.5 on an H100."""
MAX_VARIANTS = 1024
"""The number of shapes for which each type of block is compiled; blocks run uncompiled for further shapes."""


class CompiledDenoiser:
    """A UNet whose transformer and resnet blocks are compiled.

    On a GPU, blocks are compiled for each shape separately, which gives the fastest kernels, and only by
    :meth:`warm_up`, since compiling takes half a minute in which no image would be drawn. Batches are padded to the
    sizes that were compiled; inputs of another shape run uncompiled. On a CPU, padding would cost as much time as real
    inputs, and blocks are compiled for all shapes at once when they first run; torch still compiles separate variants
    for single inputs and for square latents.

    Args:
        unet: the UNet; its weights are shared, its modules are copied.
        fixed_shapes: whether to pad batches and compile for each shape separately.
    """

    name = "compiled"
    relative_error: float | None = None

    def __init__(self, unet: Any, *, fixed_shapes: bool) -> None:
        self._eager, self._unet = unet, _copy_modules(unet)
        self._fixed_shapes = fixed_shapes
        self._sizes: dict[InputShape, tuple[int, ...]] = {}
        """The sizes of batches that were compiled, ascending, by the shape of their inputs."""
        limits = torch._dynamo.config  # torch 2.11 has no argument of Module.compile for it
        limits.recompile_limit = max(limits.recompile_limit, MAX_VARIANTS)
        limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, MAX_VARIANTS)
        for module in self._unet.modules():
            if isinstance(module, BLOCKS):
                module.compile(dynamic=not fixed_shapes)

    @torch.inference_mode()
    def warm_up(self, shape: InputShape, sizes: Sequence[int] = BUCKETS, budget_s: float = WARM_UP_S) -> None:
        """Compile for batches of ``sizes`` inputs of ``shape``, until they took ``budget_s``; sizes that do not fit
        into the memory are left out.

        Raises:
            OutOfMemory: no size fits.
        """
        log.info("compiling for %d batch sizes of %s, for up to %.0f s and the last size", len(sizes), shape, budget_s)
        began_at = time.monotonic()
        for size in sizes:
            if shape in self._sizes and time.monotonic() - began_at >= budget_s:
                break
            if self._fits(shape, size):
                self._sizes[shape] = tuple(sorted({*self.batch_sizes(shape), size}))
        if shape not in self._sizes:
            raise OutOfMemory("the compiled model does not fit into the device's memory")
        log.info("compiled for batches of %s in %.0f s", self._sizes[shape], time.monotonic() - began_at)

    def _fits(self, shape: InputShape, size: int) -> bool:
        """Run one batch, which compiles for it; whether it fits into the memory."""
        inputs = seeded_inputs(self._eager, size, (shape.height, shape.width), shape.tokens)
        try:
            call_unet(self._unet, inputs.latents, inputs.timesteps, inputs.conditioning)
            synchronize(inputs.latents.device)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def batch_sizes(self, shape: InputShape) -> tuple[int, ...]:
        """See :meth:`FixedSizes.batch_sizes`."""
        return self._sizes.get(shape, ())

    @torch.inference_mode()
    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        sizes = self.batch_sizes(InputShape.of(latents, conditioning))
        if not sizes:
            unet = self._eager if self._fixed_shapes else self._unet
            return call_unet(unet, latents, timesteps, conditioning, residuals)
        count = len(latents)
        if count in sizes:
            return call_unet(self._unet, latents, timesteps, conditioning, residuals)
        chosen = torch.arange(computed_inputs(count, sizes), device=latents.device).clamp_(max=count - 1)
        batches = (_take(part, latents, timesteps, conditioning, residuals) for part in chosen.split(sizes[-1]))
        return torch.cat([call_unet(self._unet, *batch) for batch in batches])[:count]


def _copy_modules(unet: Any) -> Any:
    """Copy the modules of ``unet`` but not its weights, so that compiling the copy does not change ``unet``."""
    tensors = itertools.chain(unet.parameters(), unet.buffers())
    return copy.deepcopy(unet, {id(tensor): tensor for tensor in tensors})


def _take(
    chosen: torch.Tensor,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    conditioning: Conditioning,
    residuals: Residuals | None,
) -> tuple[torch.Tensor, torch.Tensor, Conditioning, Residuals | None]:
    """The ``chosen`` inputs [n] of a forward; the padding of a batch is its last input once more."""
    guidance = conditioning.guidance_embedding
    taken = Conditioning(
        conditioning.hidden_states[chosen],
        None if guidance is None else guidance[chosen],
        {name: tensor[chosen] for name, tensor in conditioning.extra_kwargs.items()},
    )
    added = residuals and Residuals(tuple(each[chosen] for each in residuals.down), residuals.mid[chosen])
    return latents[chosen], timesteps[chosen], taken, added
