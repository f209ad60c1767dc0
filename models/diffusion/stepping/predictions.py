"""The noiseless latents that a prediction implies, as the schedulers of diffusers compute them.

The schedulers have two forms. In the first, latents are an image to which noise of standard deviation sigma was added
(variance exploding; Karras et al. 2022, arXiv 2206.00364). In the second, image and noise have the shares alpha and
sigma with ``alpha**2 + sigma**2 == 1`` (variance preserving; Song et al. 2020, arXiv 2010.02502).
"""

from __future__ import annotations

import torch

from models.diffusion.stepping.family import Stack

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


def sigma_columns(sigma: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The three coefficients of :func:`original_of_sigma` at the noise levels ``sigma`` [steps]."""
    return sigma, -sigma / (sigma**2 + 1) ** 0.5, sigma**2 + 1


def original_of_sigma(stack: Stack, latents: torch.Tensor) -> torch.Tensor:
    """The noiseless latents [N, C, h, w], from ``latents`` with noise sigma and the first three columns."""
    sigma, velocity_share, variance = stack.columns[:3]
    match stack.prediction_type:
        case "epsilon":
            return latents - sigma * stack.prediction
        case "v_prediction":
            return stack.prediction * velocity_share + (latents / variance)
        case _:
            return stack.prediction


def original_of_alpha(stack: Stack) -> torch.Tensor:
    """The noiseless latents [N, C, h, w]; the first two columns are alpha and sigma."""
    alpha, sigma = stack.columns[:2]
    match stack.prediction_type:
        case "epsilon":
            return (stack.latents - sigma * stack.prediction) / alpha
        case "v_prediction":
            return alpha * stack.latents - sigma * stack.prediction
        case _:
            return stack.prediction
