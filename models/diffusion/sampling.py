"""Schedulers: a fresh one for each row, what its step takes, and the image it is heading for."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, Protocol

import diffusers
import torch

from models.catalog.samplers import FLOW_MATCHING, NOISE_SCHEDULE, SAMPLERS, Sampler
from models.errors import DrawingFailed


class Scheduler(Protocol):
    """The part of a diffusers scheduler that the engine uses. It holds state: one belongs to one image."""

    config: Any
    order: int
    """Every ``order``-th timestep, counted from the first, is one at which the schedule can be entered."""
    timesteps: torch.Tensor
    """One for each call of the model; some schedulers make more of them than they were asked for."""
    alphas_cumprod: torch.Tensor
    """[num_train_timesteps]; schedulers of flow matching have none."""

    @property
    def init_noise_sigma(self) -> float | torch.Tensor:
        """The standard deviation of the first latents."""

    def set_timesteps(self, num_inference_steps: int) -> None:
        """Lay out the steps."""

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The latents as the model wants them."""

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Latents as noisy as they are at ``timesteps`` [N], or where the schedule was entered or is by now."""

    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, **options: object
    ) -> tuple[torch.Tensor, ...]:
        """The latents after one step, first in the tuple."""


def kind_of(config: Mapping[str, Any]) -> str:
    """What a checkpoint was trained on by its scheduler's ``config``: only a noise schedule has betas."""
    return NOISE_SCHEDULE if "beta_schedule" in config else FLOW_MATCHING


def build_scheduler(sampler: str, config: Mapping[str, Any], seed: int) -> Scheduler:
    """A fresh scheduler for ``sampler``, on the noise schedule of the checkpoint's own, whose ``config`` this is.

    Args:
        sampler: a name in ``models.catalog.samplers.SAMPLERS``.
        config: what it says of the noise and of the layout of the steps is kept; what it says of the solver is not.
        seed: of the image; samplers that draw their noise from a Brownian tree grow it from this.

    Raises:
        DrawingFailed: nobody knows the sampler, or it cannot draw with such a checkpoint.
    """
    known = SAMPLERS.get(sampler)
    if known is None:
        raise DrawingFailed(f"there is no sampler {sampler!r}")
    if not known.serves(kind_of(config)):
        raise DrawingFailed(f"{sampler} cannot draw with models of {kind_of(config)}")
    scheduler: Scheduler
    if kind_of(config) == FLOW_MATCHING:
        scheduler = getattr(diffusers, str(known.flow_scheduler)).from_config(config)
    else:
        scheduler = getattr(diffusers, known.scheduler).from_config(config, **_changes(known, config, seed))
    return scheduler


def _changes(sampler: Sampler, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """What is different for ``sampler`` from the checkpoint's own ``config``."""
    accepted = inspect.signature(getattr(diffusers, sampler.scheduler)).parameters
    if config.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in accepted:
        raise DrawingFailed(f"{sampler.name} cannot start from pure noise, as this model does (zero terminal SNR)")
    changes = dict(sampler.config)
    if sampler.even_steps and config.get("timestep_spacing") == "linspace":
        changes["timestep_spacing"] = "leading"  # or each step would end short of where the next begins
    if "noise_sampler_seed" in accepted:
        changes["noise_sampler_seed"] = seed
    return changes


def step_options(scheduler: Scheduler, generator: torch.Generator) -> dict[str, Any]:
    """What ``scheduler.step`` takes beside the latents; found by its signature, as the plain pipelines do."""
    accepted = inspect.signature(scheduler.step).parameters
    options = {"eta": 0.0, "generator": generator}
    return {"return_dict": False} | {name: value for name, value in options.items() if name in accepted}


def predict_original(
    scheduler: Scheduler, model_input: torch.Tensor, timestep: torch.Tensor, output: torch.Tensor
) -> torch.Tensor:
    """The noiseless latents that the model expects in the end, from its ``output`` for ``model_input`` [1, C, h, w].

    Every scheduler with a noise schedule scales the model's input to unit variance, and gives even the calls between
    two steps the timestep of their noise, so that one formula for each kind of prediction serves all of them: DDIM
    (Song et al. 2020, arXiv 2010.02502), equation 12, and velocity (Salimans and Ho 2022, arXiv 2202.00512),
    appendix D. Flow matching: Lipman et al. 2022, arXiv 2210.02747, on the straight line.
    """
    if kind_of(scheduler.config) == FLOW_MATCHING:
        sigma = float(timestep) / int(scheduler.config.num_train_timesteps)
        return model_input - sigma * output
    alpha = _alpha_at(scheduler.alphas_cumprod, float(timestep))
    signal, sigma = math.sqrt(alpha), math.sqrt(1 - alpha)
    match scheduler.config.prediction_type:
        case "epsilon":
            return (model_input - sigma * output) / signal
        case "v_prediction":
            return signal * model_input - sigma * output
        case _:
            return output


def _alpha_at(alphas_cumprod: torch.Tensor, timestep: float) -> float:
    """The signal's share of the variance at ``timestep``, which may lie between two that were trained."""
    before = int(timestep)
    after = min(before + 1, len(alphas_cumprod) - 1)
    return float(alphas_cumprod[before].lerp(alphas_cumprod[after], timestep - before))
