"""DPM-Solver++ of the second order, multistep: plain and as an SDE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from models.diffusion.stepping.family import Coefficients, Stack, StepFamily, kept_or_own, position, rows_of
from models.diffusion.stepping.predictions import PREDICTION_TYPES, original_of_alpha

_SDE = "sde-dpmsolver++"


class Multistep(StepFamily):
    """The step of ``DPMSolverMultistepScheduler`` for DPM++ 2M, 2M SDE and 2M SDE Heun (arXiv 2211.01095).

    All of them, and steps of the first order, are one formula with other coefficients:
    ``x = a * x + b * m0 + c * (d * (m0 - m1)) + e * noise``, where ``m0`` and ``m1`` are the noiseless latents of this
    and the last step. For a step of the first order, ``c`` and ``d`` are 0.
    """

    noise_dtype = torch.float32

    def covers(self, scheduler: Any) -> bool:
        config = scheduler.config
        return (
            config.solver_order == 2
            and config.algorithm_type in ("dpmsolver++", _SDE)
            and config.solver_type in ("midpoint", "heun")
            and config.prediction_type in PREDICTION_TYPES
            and config.variance_type not in ("learned", "learned_range")
            and not config.thresholding
        )

    def table(self, scheduler: Any) -> Mapping[int, Coefficients]:
        alpha, sigma = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas)
        lambdas = torch.log(alpha) - torch.log(sigma)
        width = lambdas[1:] - lambdas[:-1]
        weights = _sde if scheduler.config.algorithm_type == _SDE else _ode
        before, second_before = lambdas[:-1], lambdas.roll(1)[:-1]  # no first step is of the second order
        ratio = (before - second_before) / width
        return rows_of(
            alpha[:-1], sigma[:-1],
            *weights(alpha[1:], sigma[1:], sigma[:-1], width, is_heun=scheduler.config.solver_type == "heun"),
            1.0 / ratio,
        )  # fmt: skip

    def adjusted(self, scheduler: Any, coefficients: Coefficients) -> Coefficients:
        if not _is_first_order(scheduler):
            return coefficients
        alpha, sigma, a, b, _, e, _ = coefficients
        return alpha, sigma, a, b, 0.0, e, 0.0

    def adds_noise(self, scheduler: Any) -> bool:
        return bool(scheduler.config.algorithm_type == _SDE)

    def step(self, stack: Stack) -> tuple[torch.Tensor, ...]:
        _, _, a, b, c, e, d = stack.columns
        dtype, latents = stack.prediction.dtype, stack.latents.float()
        now = original_of_alpha(stack).to(dtype)
        before = kept_or_own([each.model_outputs[-1] for each in stack.schedulers], now)
        following = a * latents + b * now + c * (d * (now - before))
        if stack.noise is not None:
            following = following + e * stack.noise
        return following.to(dtype), now

    def commit(self, scheduler: Any, coefficients: Coefficients, kept: Sequence[torch.Tensor]) -> None:
        super().commit(scheduler, coefficients, kept)
        scheduler.model_outputs = [*scheduler.model_outputs[1:], *kept]
        scheduler.lower_order_nums = min(scheduler.lower_order_nums + 1, scheduler.config.solver_order)


def _ode(
    alpha: torch.Tensor, sigma: torch.Tensor, sigma_before: torch.Tensor, width: torch.Tensor, *, is_heun: bool
) -> tuple[torch.Tensor, ...]:
    """The coefficients a, b, c and e, [steps] each."""
    b = alpha * (torch.exp(-width) - 1.0)
    c = alpha * ((torch.exp(-width) - 1.0) / width + 1.0) if is_heun else -(0.5 * b)
    return sigma / sigma_before, -b, c, torch.zeros_like(b)


def _sde(
    alpha: torch.Tensor, sigma: torch.Tensor, sigma_before: torch.Tensor, width: torch.Tensor, *, is_heun: bool
) -> tuple[torch.Tensor, ...]:
    """The coefficients a, b, c and e, [steps] each."""
    b = alpha * (1 - torch.exp(-2.0 * width))
    c = alpha * ((1.0 - torch.exp(-2.0 * width)) / (-2.0 * width) + 1.0) if is_heun else 0.5 * b
    noise = sigma * torch.sqrt(1.0 - torch.exp(-2 * width))
    return sigma / sigma_before * torch.exp(-width), b, c, noise


def _is_first_order(scheduler: Any) -> bool:
    """Whether the next step is of the first order, as ``DPMSolverMultistepScheduler.step`` decides it."""
    config, steps = scheduler.config, len(scheduler.timesteps)
    is_last = position(scheduler) == steps - 1
    ends_low = config.euler_at_final or config.final_sigmas_type == "zero" or (config.lower_order_final and steps < 15)
    return scheduler.lower_order_nums < 1 or (is_last and ends_low)
