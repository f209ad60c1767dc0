"""The sampler of latent consistency models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from models.diffusion.stepping.family import Coefficients, Stack, StepFamily, position, rows_of
from models.diffusion.stepping.predictions import PREDICTION_TYPES, original_of_alpha


class LCM(StepFamily):
    """The step of ``LCMScheduler``: Luo et al. 2023, arXiv 2310.04378. The last step adds no noise."""

    def covers(self, scheduler: Any) -> bool:
        config = scheduler.config
        return config.prediction_type in PREDICTION_TYPES and not config.thresholding and not config.clip_sample

    def table(self, scheduler: Any) -> Mapping[int, Coefficients]:
        timesteps = scheduler.timesteps
        alpha = scheduler.alphas_cumprod[timesteps]
        alpha_then = torch.cat([alpha[1:], alpha[-1:]])
        skip, out = scheduler.get_scalings_for_boundary_condition_discrete(timesteps)
        return rows_of(alpha.sqrt(), (1 - alpha).sqrt(), out, skip, alpha_then.sqrt(), (1 - alpha_then).sqrt())

    def adds_noise(self, scheduler: Any) -> bool:
        return bool(position(scheduler) != scheduler.num_inference_steps - 1)

    def step(self, stack: Stack) -> tuple[torch.Tensor, ...]:
        _, _, out, skip, alpha_then, sigma_then = stack.columns
        denoised = out * original_of_alpha(stack) + skip * stack.latents
        if stack.noise is not None:
            denoised = alpha_then * denoised + sigma_then * stack.noise
        return (denoised.to(stack.prediction.dtype),)
