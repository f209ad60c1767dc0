"""The picture a row is heading for: exact where it can be, close where it is fitted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models.diffusion.preview import apply_linear, fit_linear
from models.diffusion.sampling import build_scheduler, predict_original
from models.samplers import SAMPLERS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_perfect_prediction_gives_the_original(sampler: str, prediction_type: str) -> None:
    scheduler: Any = build_scheduler(sampler, SCHEDULE | {"prediction_type": prediction_type})
    scheduler.set_timesteps(8)
    original, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    timestep = scheduler.timesteps[3]
    alpha = scheduler.alphas_cumprod[int(timestep.round())]
    signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
    output = {"epsilon": noise, "v_prediction": signal * noise - sigma * original, "sample": original}[prediction_type]
    found = predict_original(scheduler, signal * original + sigma * noise, timestep, output)
    assert torch.allclose(found, original, atol=1e-4)


def test_the_fitted_map_finds_a_decoder_that_is_linear() -> None:
    truth = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))

    def decode(latents: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        colours = apply_linear_to_all(truth, latents)
        return (colours.repeat_interleave(8, 2).repeat_interleave(8, 3),)

    config = SimpleNamespace(latent_channels=4, scaling_factor=1.0)
    vae = SimpleNamespace(config=config, device="cpu", dtype=torch.float32, decode=decode)
    pipeline: Any = SimpleNamespace(vae=vae, vae_scale_factor=8)
    assert torch.allclose(fit_linear(pipeline), truth, atol=1e-4)


def apply_linear_to_all(weights: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    return torch.cat([apply_linear(weights, one[None]) for one in latents])
