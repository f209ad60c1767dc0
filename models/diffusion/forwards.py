"""The model's forwards for images of one group: one for all of them, or two where some reuse what they computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.diffusion.backends.deepcache import takes_full_step
from models.diffusion.control.controlnet import Share, residuals
from models.diffusion.denoiser import Conditioning
from models.errors import DrawingFailed, JobFailure

if TYPE_CHECKING:
    from models.diffusion.denoising import Denoising


@dataclass(frozen=True)
class _Inputs:
    """What a model takes for several images, one after the other, N inputs in all."""

    latents: torch.Tensor
    timesteps: torch.Tensor
    conditioning: Conditioning
    sizes: list[int]
    """How many inputs each image has."""

    @classmethod
    def of(cls, batch: Sequence[Denoising]) -> _Inputs:
        """Those of ``batch``."""
        stacked = torch.cat([each.model_input().expand(each.inputs, -1, -1, -1) for each in batch])
        timesteps = torch.cat([each.timestep.float().expand(each.inputs) for each in batch]).to(stacked.device)
        conditioning = Conditioning.cat([each.conditioning for each in batch])
        return cls(stacked, timesteps, conditioning, [each.inputs for each in batch])


def predict(batch: Sequence[Denoising]) -> list[torch.Tensor | JobFailure]:
    """Each image's raw model output [inputs, ...], or why it has none."""
    if batch[0].reuse_interval == 1:
        return _checked(*_denoise(batch))
    full = [each for each in batch if takes_full_step(each.step, each.reuse_interval)]
    rest = [each for each in batch if each not in full]
    found = dict(zip(map(id, [*full, *rest]), [*_full(full), *_shallow(rest)], strict=True))
    return [found[id(each)] for each in batch]


def _denoise(batch: Sequence[Denoising]) -> tuple[torch.Tensor, list[int]]:
    """One forward, with what the images' ControlNets add to it."""
    inputs, checkpoint = _Inputs.of(batch), batch[0].checkpoint
    shares = [Share(each.inputs, each.controls, each.step, each.steps) for each in batch]
    added = residuals(shares, inputs.latents, inputs.timesteps, inputs.conditioning)
    denoiser = checkpoint.denoiser if added is None else checkpoint.eager
    return denoiser.denoise(inputs.latents, inputs.timesteps, inputs.conditioning, added), inputs.sizes


def _full(batch: Sequence[Denoising]) -> list[torch.Tensor | JobFailure]:
    """The whole model; each image keeps its deep features [inputs, ...] for the steps to come."""
    if not batch:
        return []
    inputs, unet = _Inputs.of(batch), batch[0].checkpoint.deepcache
    output, deep = unet.full(inputs.latents, inputs.timesteps, inputs.conditioning)
    for each, features in zip(batch, deep.split(inputs.sizes), strict=True):
        each.deep = features
    return _checked(output, inputs.sizes)


def _shallow(batch: Sequence[Denoising]) -> list[torch.Tensor | JobFailure]:
    """The model without its deep half, for which each image's kept features stand in."""
    if not batch:
        return []
    inputs, unet = _Inputs.of(batch), batch[0].checkpoint.deepcache
    deep = torch.cat([each.deep for each in batch if each.deep is not None])
    output = unet.shallow(inputs.latents, inputs.timesteps, inputs.conditioning, deep)
    return _checked(output, inputs.sizes)


def _checked(output: torch.Tensor, sizes: list[int]) -> list[torch.Tensor | JobFailure]:
    """Each image's part of ``output``; a failure where it is not finite."""
    finite = output.isfinite().flatten(1).all(1).cpu().split(sizes)  # one wait for the device, for all rows
    return [
        part if is_finite.all() else DrawingFailed("the model's prediction is not finite")
        for part, is_finite in zip(output.split(sizes), finite, strict=True)
    ]
