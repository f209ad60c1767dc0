"""Rows that step without a checkpoint: what the scheduler needs is there, and the model is a plain function."""

from __future__ import annotations

from typing import Any, cast

import torch

from models.diffusion.checkpoint import Checkpoint
from models.diffusion.denoiser import Conditioning
from models.diffusion.denoising_work import DenoisingToImage
from models.diffusion.sampling import build_scheduler, step_options
from tests.models.diffusion.driving import BETAS

SHAPE = (1, 4, 8, 8)
FLOW = {"num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": False}


def row(sampler: str, seed: int, steps: int = 6, first: int = 0, **config: Any) -> DenoisingToImage:
    """A row of ``sampler`` before its step number ``first``; two with the same arguments are equal."""
    flow = config.pop("flow", False)
    scheduler: Any = build_scheduler(sampler, (FLOW if flow else BETAS) | config, seed)
    scheduler.set_timesteps(steps)
    first *= scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    scheduler.is_scale_input_called = True
    generator = torch.Generator().manual_seed(seed)
    return DenoisingToImage(
        checkpoint=cast(Checkpoint, None),
        size=(64, 64),
        scheduler=scheduler,
        options=step_options(scheduler, generator),
        timesteps=scheduler.timesteps[first:],
        latents=torch.randn(SHAPE, generator=generator) * (1.0 if flow else scheduler.init_noise_sigma),
        conditioning=Conditioning(torch.zeros(1, 1, 1)),
        guidance_scale=1.0,
    )


def output_for(latents: torch.Tensor) -> torch.Tensor:
    """What the model says about ``latents``; it depends on them, and each element on that element only."""
    return (latents * 0.7).sin() + latents * 0.05
