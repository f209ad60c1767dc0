"""Noise schedulers: a new diffusers scheduler for each image, the options of its step, and its expected result."""

from __future__ import annotations

import copy
import inspect
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import diffusers
import torch

from models.catalog.samplers import FLOW_MATCHING, NOISE_SCHEDULE, SAMPLERS, Sampler
from models.diffusion import solvers
from models.diffusion.layouts import apply_layout
from models.errors import DrawingFailed

_SEED = "noise_sampler_seed"
"""The setting of schedulers whose noise comes from a Brownian tree."""


class NoiseScheduler(Protocol):
    """The part of a diffusers scheduler that the engine uses. A scheduler holds state, so each image has its own."""

    config: Any
    order: int
    """The model's calls for each step; img2img can start only at every ``order``-th timestep."""
    timesteps: torch.Tensor
    """One for each call of the model; some schedulers have more timesteps than ``num_inference_steps``."""
    alphas_cumprod: torch.Tensor
    """[num_train_timesteps]; flow-matching schedulers have no such attribute."""

    @property
    def init_noise_sigma(self) -> float | torch.Tensor:
        """The standard deviation of the latents before the first step."""

    def set_timesteps(self, num_inference_steps: int) -> None:
        """Set ``timesteps``."""

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The latents, scaled for the model."""

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Add noise of ``timesteps`` [N]; some schedulers take the noise of their first or current timestep instead."""

    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, **options: object
    ) -> tuple[torch.Tensor, ...]:
        """Take one step; the new latents are the first element of the tuple."""


def training_of(config: Mapping[str, Any]) -> str:
    """How a checkpoint was trained, by its scheduler's ``config``; only a noise schedule has betas."""
    return NOISE_SCHEDULE if "beta_schedule" in config else FLOW_MATCHING


def build_scheduler(sampler: str, config: Mapping[str, Any], seed: int, *, is_sdxl: bool = False) -> NoiseScheduler:
    """A new scheduler for ``sampler``, with the noise schedule of a checkpoint.

    Args:
        sampler: a name in ``models.catalog.samplers.SAMPLERS``.
        config: of the checkpoint's scheduler; its noise and timestep spacing are kept, its solver is replaced.
        seed: the image's seed, for samplers whose noise comes from a Brownian tree.
        is_sdxl: whether the model is an SDXL, for which some layouts of steps differ.

    Raises:
        DrawingFailed: the sampler is unknown, or cannot draw with such a checkpoint.
    """
    known = SAMPLERS.get(sampler)
    if known is None:
        raise DrawingFailed(f"there is no sampler {sampler!r}")
    if not known.serves(training_of(config)):
        raise DrawingFailed(f"{sampler} cannot draw with models of {training_of(config)}", "sampler")
    scheduler: NoiseScheduler
    if training_of(config) == FLOW_MATCHING:
        scheduler = _made(str(known.flow_scheduler), config, {})
    else:
        scheduler = _made(known.scheduler, config, _changes(known, config, seed))
        if known.own_layout is not None:
            apply_layout(scheduler, known.own_layout, is_sdxl)
    return scheduler


def _made(name: str, config: Mapping[str, Any], changes: Mapping[str, Any]) -> NoiseScheduler:
    """A new scheduler of the class ``name``, as a copy of an earlier one where that can be equal.

    Some classes compute all steps of the training whenever one is made, one by one: DPM2 takes 0.4 s for that.
    """
    if _SEED in changes:
        return _from_config(name, config, changes)
    return copy.deepcopy(_prototype(name, json.dumps(dict(config)), json.dumps(dict(changes))))


@lru_cache(maxsize=64)
def _prototype(name: str, config: str, changes: str) -> NoiseScheduler:
    """What is copied; ``config`` and ``changes`` are JSON, as in a checkpoint's ``scheduler_config.json``."""
    return _from_config(name, json.loads(config), json.loads(changes))


def _from_config(name: str, config: Mapping[str, Any], changes: Mapping[str, Any]) -> NoiseScheduler:
    made: NoiseScheduler = scheduler_class(name).from_config(config, **changes)
    return made


def scheduler_class(name: str) -> Any:
    """The class of diffusers, or of :mod:`models.diffusion.solvers`, that is called ``name``."""
    return getattr(diffusers, name, None) or getattr(solvers, name)


def _changes(sampler: Sampler, config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The settings of ``sampler`` that replace those of the checkpoint's ``config``."""
    accepted = inspect.signature(scheduler_class(sampler.scheduler)).parameters
    if config.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in accepted:
        raise DrawingFailed(
            f"{sampler.name} cannot start from pure noise, as this model does (zero terminal SNR)", "sampler"
        )
    changes = dict(sampler.config)
    if sampler.even_steps and config.get("timestep_spacing") == "linspace":
        changes["timestep_spacing"] = "leading"  # with "linspace", a step would not end where the next begins
    if _SEED in accepted:
        changes[_SEED] = seed
    return changes


def step_options(scheduler: NoiseScheduler, generator: torch.Generator) -> dict[str, Any]:
    """The options that ``scheduler.step`` accepts, found by its signature as in the plain pipelines."""
    accepted = inspect.signature(scheduler.step).parameters
    options = {"eta": 0.0, "generator": generator}
    return {"return_dict": False} | {name: value for name, value in options.items() if name in accepted}


def predict_original(
    scheduler: NoiseScheduler, model_input: torch.Tensor, timestep: torch.Tensor, output: torch.Tensor
) -> torch.Tensor:
    """The noiseless latents that the model's ``output`` for ``model_input`` [1, C, h, w] implies.

    One formula for each type of prediction serves all schedulers with a noise schedule, because each of them scales
    the model's input to unit variance, and each call of the model gets the timestep of its noise. Epsilon: DDIM, Song
    et al. 2020, arXiv 2010.02502, equation 12. Velocity: Salimans and Ho 2022, arXiv 2202.00512, appendix D. Flow
    matching, on the straight line: Lipman et al. 2022, arXiv 2210.02747.
    """
    if training_of(scheduler.config) == FLOW_MATCHING:
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
    """The signal's share of the variance at ``timestep``, interpolated between two trained timesteps."""
    before = int(timestep)
    after = min(before + 1, len(alphas_cumprod) - 1)
    return float(alphas_cumprod[before].lerp(alphas_cumprod[after], timestep - before))
