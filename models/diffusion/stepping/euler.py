"""Euler's method: plain, with ancestral noise, and for flow matching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from models.diffusion.stepping.family import Coefficients, Stack, StepFamily, rows_of
from models.diffusion.stepping.predictions import PREDICTION_TYPES, original_of_sigma, sigma_columns


class Euler(StepFamily):
    """The step of ``EulerDiscreteScheduler`` without churn: Karras et al. 2022, arXiv 2206.00364, algorithm 1."""

    def covers(self, scheduler: Any) -> bool:
        return scheduler.config.prediction_type in PREDICTION_TYPES

    def table(self, scheduler: Any) -> Mapping[int, Coefficients]:
        sigma, following = scheduler.sigmas[:-1], scheduler.sigmas[1:]
        return rows_of(*sigma_columns(sigma), following - sigma)

    def step(self, stack: Stack) -> tuple[torch.Tensor, ...]:
        sigma, *_, width = stack.columns
        latents = stack.latents.float()
        slope = (latents - original_of_sigma(stack, latents)) / sigma
        return ((latents + slope * width).to(stack.prediction.dtype),)


class EulerAncestral(StepFamily):
    """The step of ``EulerAncestralDiscreteScheduler``, as ``sample_euler_ancestral`` of k-diffusion."""

    def covers(self, scheduler: Any) -> bool:
        return scheduler.config.prediction_type in ("epsilon", "v_prediction")

    def table(self, scheduler: Any) -> Mapping[int, Coefficients]:
        sigma, following = scheduler.sigmas[:-1], scheduler.sigmas[1:]
        up = (following**2 * (sigma**2 - following**2) / sigma**2) ** 0.5
        down = (following**2 - up**2) ** 0.5
        return rows_of(*sigma_columns(sigma), down - sigma, up)

    def adds_noise(self, scheduler: Any) -> bool:
        return True

    def step(self, stack: Stack) -> tuple[torch.Tensor, ...]:
        assert stack.noise is not None
        sigma, *_, width, up = stack.columns
        latents = stack.latents.float()
        slope = (latents - original_of_sigma(stack, latents)) / sigma
        return ((latents + slope * width + stack.noise * up).to(stack.prediction.dtype),)


class FlowEuler(StepFamily):
    """The step of ``FlowMatchEulerDiscreteScheduler``: Lipman et al. 2022, arXiv 2210.02747."""

    def covers(self, scheduler: Any) -> bool:
        return not scheduler.config.stochastic_sampling

    def table(self, scheduler: Any) -> Mapping[int, Coefficients]:
        return rows_of(scheduler.sigmas[1:] - scheduler.sigmas[:-1])

    def step(self, stack: Stack) -> tuple[torch.Tensor, ...]:
        (width,) = stack.columns
        return ((stack.latents.float() + width * stack.prediction).to(stack.prediction.dtype),)
