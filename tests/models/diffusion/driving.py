"""Samplers driven by a perfect model of very simple images, so that what they come to is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from models.catalog.samplers import LAYOUTS, SAMPLERS, Sampler
from models.diffusion.sampling import build_scheduler, step_options

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
SHAPE = (1, 4, 32, 32)
_BY_LAYOUT = [[name for name in SAMPLERS if SAMPLERS[name].layout == layout] for layout in LAYOUTS]
_CHOSEN = [names[(5 * number + other) % len(names)] for number, names in enumerate(_BY_LAYOUT) for other in (0, 2)]
SAMPLED: Mapping[str, Sampler] = {
    name: sampler for name, sampler in SAMPLERS.items() if sampler.layout is None or name in _CHOSEN
}
"""Every solver, and every layout with two of them: a layout only changes numbers that the solver is given."""


class Gaussian:
    """Images whose numbers are all normal with standard deviation ``spread``: what a perfect model says is known."""

    def __init__(self, spread: float) -> None:
        self.spread = spread

    def denoise(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """The mean of all images that ``noisy`` may come from."""
        return noisy * self.spread**2 / (self.spread**2 + sigma**2)

    def predict(self, model_input: torch.Tensor, alpha: float, prediction_type: str = "epsilon") -> torch.Tensor:
        """A perfect model's output for an input of which ``alpha`` is the signal's share of the variance."""
        signal, noise = math.sqrt(alpha), math.sqrt(1 - alpha)
        original = self.denoise(model_input / signal, noise / signal)
        epsilon = (model_input - signal * original) / noise
        velocity = signal * epsilon - noise * original
        return {"epsilon": epsilon, "v_prediction": velocity, "sample": original}[prediction_type]


def alpha_of(scheduler: Any, timestep: torch.Tensor) -> float:
    """The signal's share of the variance in the input that the scheduler makes for the call at ``timestep``."""
    scale = float(scheduler.scale_model_input(torch.ones(1), timestep))
    if scale != 1:
        return scale**2
    if hasattr(scheduler, "sigmas"):
        return float(1 / (scheduler.sigmas[scheduler.step_index or scheduler.begin_index or 0] ** 2 + 1))
    return float(scheduler.alphas_cumprod[int(timestep)])


def build(sampler: str, steps: int, seed: int = 1, **config: Any) -> Any:
    """A scheduler with its steps laid out."""
    scheduler: Any = build_scheduler(sampler, BETAS | config, seed)
    scheduler.set_timesteps(steps)
    return scheduler


def drawing(
    scheduler: Any, data: Gaussian, latents: torch.Tensor, first: int = 0, seed: int = 1
) -> Iterator[torch.Tensor]:
    """The latents after each call of a perfect model."""
    options = step_options(scheduler, torch.Generator().manual_seed(seed))
    for timestep in scheduler.timesteps[first:]:
        model_input = scheduler.scale_model_input(latents, timestep)
        output = data.predict(model_input, alpha_of(scheduler, timestep), scheduler.config.prediction_type)
        latents = scheduler.step(output, timestep, latents, **options)[0]
        yield latents


def end_of(scheduler: Any, data: Gaussian, latents: torch.Tensor, first: int = 0) -> torch.Tensor:
    """The latents after the last call."""
    *_, end = drawing(scheduler, data, latents, first)
    return end


def start_of(scheduler: Any, first: int = 0, data: Gaussian | None = None) -> torch.Tensor:
    """The latents before the first step, or noise over latents of ``data`` for a start further on."""
    noise, original = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(2))
    if data is None:
        start: torch.Tensor = noise * scheduler.init_noise_sigma
        return start
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    noisy: torch.Tensor = scheduler.add_noise(original * data.spread, noise, scheduler.timesteps[first : first + 1])
    return noisy


def plain_name(sampler: str) -> str:
    """Without the layout of its steps."""
    return SAMPLERS[sampler].solver
