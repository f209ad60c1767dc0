"""The model's forwards for a batch of images: one for all, or two where some images reuse deep features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from models.diffusion.backends.deepcache import is_full_step
from models.diffusion.control.controlnet import Share, residuals
from models.diffusion.denoiser import Conditioning
from models.diffusion.denoising import Denoising
from models.diffusion.parts import Part
from models.diffusion.stepping.inputs import model_inputs
from models.diffusion.stepping.transfer import send
from models.errors import DrawingFailed, JobFailure


@dataclass(frozen=True)
class _Inputs:
    """The model's inputs for several images, N inputs in all."""

    latents: torch.Tensor
    timesteps: torch.Tensor
    conditioning: Conditioning
    sizes: list[int]
    """The number of inputs of each image."""

    @classmethod
    def of(cls, batch: Sequence[Denoising]) -> _Inputs:
        sizes = [each.inputs for each in batch]
        timesteps = [each.timestep_numbers[each.step] for each in batch for _ in range(each.inputs)]
        conditioning = Conditioning.cat([each.conditioning for each in batch])
        device = batch[0].latents.device
        return cls(model_inputs(batch), send(timesteps, torch.float32, device), conditioning, sizes)


def predict(batch: Sequence[Denoising]) -> list[torch.Tensor | JobFailure]:
    """The raw model output [inputs, ...] of each image in ``batch``, or a failure where the output is not finite."""
    with batch[0].checkpoint.placement.using(Part.DENOISER):
        return _predicted(batch)


def _predicted(batch: Sequence[Denoising]) -> list[torch.Tensor | JobFailure]:
    if batch[0].reuse_interval == 1:
        return _checked(*_denoise(batch))
    full = [each for each in batch if is_full_step(each.step, each.reuse_interval)]
    shallow = [each for each in batch if each not in full]
    outputs = dict(zip(map(id, [*full, *shallow]), [*_full(full), *_shallow(shallow)], strict=True))
    return [outputs[id(each)] for each in batch]


def _denoise(batch: Sequence[Denoising]) -> tuple[torch.Tensor, list[int]]:
    """One forward, including the residuals of the images' ControlNets."""
    inputs, checkpoint = _Inputs.of(batch), batch[0].checkpoint
    shares = [Share(each.inputs, each.controls, each.step, each.steps) for each in batch]
    added = residuals(shares, inputs.latents, inputs.timesteps, inputs.conditioning)
    denoiser = checkpoint.denoiser if added is None else checkpoint.eager
    return denoiser.denoise(inputs.latents, inputs.timesteps, inputs.conditioning, added), inputs.sizes


def _full(batch: Sequence[Denoising]) -> list[torch.Tensor | JobFailure]:
    """Run the whole model; each image keeps its deep features [inputs, ...] for its next steps."""
    if not batch:
        return []
    inputs, unet = _Inputs.of(batch), batch[0].checkpoint.deepcache
    output, deep = unet.full(inputs.latents, inputs.timesteps, inputs.conditioning)
    for each, features in zip(batch, deep.split(inputs.sizes), strict=True):
        each.deep = features.clone()  # a view would keep the features of the whole batch alive
    return _checked(output, inputs.sizes)


def _shallow(batch: Sequence[Denoising]) -> list[torch.Tensor | JobFailure]:
    """Run the model without its deep blocks, from the deep features that each image kept."""
    if not batch:
        return []
    inputs, unet = _Inputs.of(batch), batch[0].checkpoint.deepcache
    deep = torch.cat([each.deep for each in batch if each.deep is not None])
    output = unet.shallow(inputs.latents, inputs.timesteps, inputs.conditioning, deep)
    return _checked(output, inputs.sizes)


def _checked(output: torch.Tensor, sizes: list[int]) -> list[torch.Tensor | JobFailure]:
    """Each image's part of ``output``, or a failure where it is not finite; waits for the device only once."""
    finite = iter(output.isfinite().flatten(1).all(1).tolist())
    return [
        part if all(list(islice(finite, len(part)))) else DrawingFailed("the model's output is not finite")
        for part in output.split(sizes)
    ]
