"""The picture a row is heading for: exact where it can be, close where it is fitted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Resampling

from models.diffusion.preview import apply_linear, fit_linear
from models.diffusion.sampling import build_scheduler, predict_original
from models.samplers import SAMPLERS
from tests.models.diffusion.rig import Studio, params, pictures, progress, run

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
    truth = torch.randn(5, 3 * 4 * 4, generator=torch.Generator().manual_seed(1)) / 50

    def decode(latents: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        half_size = torch.cat([apply_linear(truth, one[None]) for one in latents])
        return (half_size.repeat_interleave(2, 2).repeat_interleave(2, 3),)

    config = SimpleNamespace(latent_channels=4, scaling_factor=1.0)
    vae = SimpleNamespace(config=config, device="cpu", dtype=torch.float32, decode=decode)
    pipeline: Any = SimpleNamespace(vae=vae, vae_scale_factor=8)
    assert torch.allclose(fit_linear(pipeline), truth, atol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_previews_differ_as_their_pictures_do(tiny_house: Studio, sampler: str) -> None:
    engine = tiny_house.engine(preview_every=3)
    for seed in (1, 2):
        engine.join(str(seed), params(sampler=sampler, seed=seed, num_inference_steps=8), tiny_house.spec)
    events = run(engine)
    seen = [np.asarray(progress(events, row_id)[5].preview).astype(float) for row_id in "12"]
    drawn = [np.asarray(pictures(events)[row_id].resize((32, 32), Resampling.BOX)).astype(float) for row_id in "12"]
    likeness = np.corrcoef((seen[0] - seen[1]).ravel(), (drawn[0] - drawn[1]).ravel())[0, 1]
    assert likeness > 0.1, "random weights are hardly linear, but a wrong map gives about nothing"
