"""Measuring backends: the difference of their output from torch's, and the time of a forward."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.diffusion.backends.eager import call_unet
from models.diffusion.backends.inputs import seeded_inputs
from models.diffusion.denoiser import Denoiser, InputShape

INPUTS = 4
SHAPE = InputShape(16, 16, 77)
FLOAT32_BOUND, HALF_BOUND = 1e-3, 6e-2
"""The largest relative difference allowed for a backend that computes in float32, and in 16 bits."""


RACE_INPUTS, RACE_TURNS = 8, 6


@dataclass(frozen=True)
class Difference:
    """The difference between a backend's output and torch's, for the same inputs."""

    relative: float
    """The norm of the difference, divided by the norm of torch's output."""
    max_abs: float


@torch.inference_mode()
def difference(denoiser: Denoiser, unet: Any, shape: InputShape = SHAPE) -> Difference:
    """Compare one forward of fixed noise in ``denoiser`` and in ``unet`` on torch.

    Four inputs of ``shape``, with timesteps from 981 to 1. NaN if the output has NaNs.
    """
    inputs = seeded_inputs(unet, INPUTS, (shape.height, shape.width), shape.tokens)
    expected = call_unet(unet, inputs.latents, inputs.timesteps, inputs.conditioning).float()
    off = denoiser.denoise(inputs.latents, inputs.timesteps, inputs.conditioning).float() - expected
    return Difference(float(off.norm() / expected.norm()), float(off.abs().max()))


@torch.inference_mode()
def forward_s(denoisers: Sequence[Denoiser], unet: Any) -> list[float]:
    """The shortest time in seconds of a forward of eight inputs in each of ``denoisers``, all of the same ``unet``.

    The denoisers take turns, so that a slow moment affects all of them. The latents have the UNet's native size, but at
    most 64 x 64.
    """
    side = min(64, int(unet.config.sample_size or SHAPE.height))
    inputs = seeded_inputs(unet, RACE_INPUTS, (side, side), SHAPE.tokens)
    best = [float("inf")] * len(denoisers)
    for _ in range(RACE_TURNS):
        for number, denoiser in enumerate(denoisers):
            began_at = time.perf_counter()
            denoiser.denoise(inputs.latents, inputs.timesteps, inputs.conditioning)
            best[number] = min(best[number], time.perf_counter() - began_at)
    return best
