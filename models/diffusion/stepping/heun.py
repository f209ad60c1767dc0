"""Heun's method, whose steps have two calls of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from models.diffusion.stepping.family import Coefficients, Stack, StepFamily, rows_of
from models.diffusion.stepping.predictions import PREDICTION_TYPES, original_of_sigma, sigma_columns


class Heun(StepFamily):
    """The two calls of each step of ``HeunDiscreteScheduler``: Karras et al. 2022, arXiv 2206.00364, algorithm 1."""

    def covers(self, scheduler: Any) -> bool:
        return scheduler.config.prediction_type in PREDICTION_TYPES and not scheduler.config.clip_sample

    def table(self, scheduler: Any) -> Mapping[int, Coefficients]:
        """The last coefficient is the width of the step that begins at a call; the second call keeps the first's."""
        sigma, following = scheduler.sigmas[:-1], scheduler.sigmas[1:]
        width = following - sigma
        return rows_of(*sigma_columns(sigma), width, width.roll(1))

    def variant(self, scheduler: Any) -> bool:
        """Whether it is the first call of a step."""
        return bool(scheduler.state_in_first_order)

    def step(self, stack: Stack) -> tuple[torch.Tensor, ...]:
        sigma, *_, width, width_before = stack.columns
        dtype, latents = stack.prediction.dtype, stack.latents
        slope = (latents - original_of_sigma(stack, latents)) / sigma
        if stack.schedulers[0].state_in_first_order:
            return (latents + slope * width).to(dtype), slope.to(dtype), latents
        slope = (torch.cat([each.prev_derivative for each in stack.schedulers]) + slope) / 2
        start = torch.cat([each.sample for each in stack.schedulers])
        return ((start + slope * width_before).to(dtype),)

    def commit(self, scheduler: Any, coefficients: Coefficients, kept: Sequence[torch.Tensor]) -> None:
        super().commit(scheduler, coefficients, kept)
        *_, width, _ = coefficients
        scheduler.prev_derivative, scheduler.sample = kept or (None, None)
        scheduler.dt = width if kept else None
