"""Schedulers: a fresh one for each row, what its step takes, and the picture it is heading for."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, Protocol

import diffusers
import torch

from models.errors import DrawingFailed
from models.samplers import SAMPLERS


class Scheduler(Protocol):
    """The part of a diffusers scheduler that the engine uses. It holds state: one belongs to one picture."""

    config: Any
    timesteps: torch.Tensor
    alphas_cumprod: torch.Tensor

    @property
    def init_noise_sigma(self) -> float | torch.Tensor:
        """The standard deviation of the first latents."""

    def set_timesteps(self, num_inference_steps: int) -> None:
        """Lay out the steps."""

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """The latents as the model wants them."""

    def step(
        self, model_output: torch.Tensor, timestep: torch.Tensor, sample: torch.Tensor, **options: object
    ) -> tuple[torch.Tensor, ...]:
        """The latents after one step, first in the tuple."""


def build_scheduler(sampler: str, config: Mapping[str, Any]) -> Scheduler:
    """A fresh scheduler for ``sampler``, on the noise schedule of the checkpoint's own, whose ``config`` this is.

    Raises:
        DrawingFailed: nobody knows the sampler.
    """
    known = SAMPLERS.get(sampler)
    if known is None:
        raise DrawingFailed(f"there is no sampler {sampler!r}")
    scheduler: Scheduler = getattr(diffusers, known.scheduler).from_config(config, **known.config)
    return scheduler


def step_options(scheduler: Scheduler, generator: torch.Generator) -> dict[str, Any]:
    """What ``scheduler.step`` takes beside the latents; found by its signature, as the plain pipelines do."""
    accepted = inspect.signature(scheduler.step).parameters
    options = {"eta": 0.0, "generator": generator}
    return {"return_dict": False} | {name: value for name, value in options.items() if name in accepted}


def predict_original(
    scheduler: Scheduler, model_input: torch.Tensor, timestep: torch.Tensor, output: torch.Tensor
) -> torch.Tensor:
    """The noiseless latents that the model expects in the end, from its ``output`` for ``model_input`` [1, C, h, w].

    Every scheduler scales the model's input to unit variance, so that one formula for each kind of prediction serves
    all of them: DDIM (Song et al. 2020, arXiv 2010.02502), equation 12, and velocity (Salimans and Ho 2022,
    arXiv 2202.00512), appendix D. Timesteps between the trained ones are rounded: good enough for a preview.
    """
    alpha = float(scheduler.alphas_cumprod[int(timestep.round())])
    signal, sigma = math.sqrt(alpha), math.sqrt(1 - alpha)
    match scheduler.config.prediction_type:
        case "epsilon":
            return (model_input - sigma * output) / signal
        case "v_prediction":
            return signal * model_input - sigma * output
        case _:
            return output
