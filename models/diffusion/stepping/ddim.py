"""DDIM without noise (eta 0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from models.diffusion.stepping.family import Coefficients, Stack, StepFamily
from models.diffusion.stepping.predictions import PREDICTION_TYPES, original_of_alpha


class DDIM(StepFamily):
    """The step of ``DDIMScheduler``: Song et al. 2020, arXiv 2010.02502, equation 12, with eta 0.

    The scheduler keeps no state; its steps are known by their timesteps.
    """

    def covers(self, scheduler: Any) -> bool:
        config = scheduler.config
        return config.prediction_type in PREDICTION_TYPES and not config.thresholding and not config.clip_sample

    def table(self, scheduler: Any) -> Mapping[int, Coefficients]:
        timesteps = scheduler.timesteps
        following = timesteps - scheduler.config.num_train_timesteps // scheduler.num_inference_steps
        alphas = scheduler.alphas_cumprod
        alpha, final = alphas[timesteps], scheduler.final_alpha_cumprod.to(alphas)
        alpha_then = torch.where(following >= 0, alphas[following.clamp(min=0)], final)
        columns = (alpha**0.5, (1 - alpha) ** 0.5, alpha_then**0.5, (1 - alpha_then) ** 0.5)
        return dict(zip(timesteps.tolist(), zip(*(each.tolist() for each in columns), strict=True), strict=True))

    def key(self, scheduler: Any, timestep: float) -> int:
        return int(timestep)

    def step(self, stack: Stack) -> tuple[torch.Tensor, ...]:
        alpha_then, sigma_then = stack.columns[2:]
        original = original_of_alpha(stack)
        following = alpha_then * original + sigma_then * _noise(stack, original)
        return (following.to(stack.prediction.dtype),)

    def commit(self, scheduler: Any, coefficients: Coefficients, kept: Sequence[torch.Tensor]) -> None:
        """Nothing, since there is no state."""


def _noise(stack: Stack, original: torch.Tensor) -> torch.Tensor:
    """The noise in the latents that the prediction implies."""
    alpha, sigma = stack.columns[:2]
    match stack.prediction_type:
        case "epsilon":
            return stack.prediction
        case "v_prediction":
            return alpha * stack.prediction + sigma * stack.latents
        case _:
            return (stack.latents - alpha * original) / sigma
