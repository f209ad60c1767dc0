"""The samplers are the service's, which are diffusers' own schedulers."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from photogram_runtime.errors import InvalidRequest, PackageUnsupported
from photogram_runtime.noise import Noise
from photogram_runtime.samplers import SAMPLERS, build_sampler
from photogram_runtime.schedules import read_schedule

from models.catalog.samplers import SAMPLERS as OF_THE_SERVICE
from models.diffusion.sampling import build_scheduler, step_options

SHAPE = (1, 4, 6, 6)
SEED = 5
SPACINGS = ("leading", "trailing", "linspace", None)
PREDICTIONS = ("epsilon", "v_prediction", "sample")
STEPS = (1, 2, 3, 7, 15, 20, 50)
HOUSE: dict[str, Any] = {
    "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "set_alpha_to_one": False,
}  # fmt: skip


def output(step: int) -> torch.Tensor:
    """What a denoiser might have given."""
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1000 + step))


def by_diffusers(name: str, config: dict[str, Any], steps: int) -> tuple[torch.Tensor, list[float], torch.Tensor]:
    """The final latents, the timesteps, and the latents as the last call of the denoiser takes them."""
    scheduler = build_scheduler(name, config, SEED)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    generator = torch.Generator().manual_seed(SEED)
    options = step_options(scheduler, generator)
    latents = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    scaled = latents
    for step, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(output(step), timestep, latents, **options)[0]
    return latents, scheduler.timesteps.tolist(), scaled


def require_equal(name: str, config: dict[str, Any], steps: int) -> None:
    expected, timesteps, last = by_diffusers(name, config, steps)
    sampler, noise = build_sampler(name, read_schedule(config), steps), Noise(SEED)
    np.testing.assert_allclose(sampler.timesteps, timesteps, rtol=0, atol=2e-3)
    latents = noise.normal(SHAPE) * np.float32(sampler.initial_sigma)
    scaled = latents
    for step in range(len(sampler.timesteps)):
        scaled = sampler.scale(latents, step)
        latents = sampler.step(output(step).numpy(), latents, step, noise)
        assert latents.dtype == np.float32
    # Where a schedule starts from pure noise, some latents are thousands in size, of which float32 has seven digits.
    bound = 1e-4 + 2.5e-7 * max(sampler.initial_sigma, float(last.abs().max()))
    np.testing.assert_allclose(scaled, last.numpy(), rtol=1e-4, atol=bound)
    np.testing.assert_allclose(latents, expected.numpy(), rtol=1e-4, atol=bound)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_the_schedulers(name: str, prediction: str):
    if name == "Euler a" and prediction == "sample":
        pytest.skip("diffusers' class cannot do it")
    for steps, spacing, rescaled in product(STEPS, SPACINGS, (False, True)):
        if steps < OF_THE_SERVICE[name].min_steps or (rescaled and prediction == "epsilon"):
            continue  # no model that predicts the noise can begin where nothing else is
        config = HOUSE | {"prediction_type": prediction, "rescale_betas_zero_snr": rescaled}
        require_equal(name, config if spacing is None else config | {"timestep_spacing": spacing}, steps)


@pytest.mark.parametrize("changes", [
    {"beta_schedule": "linear"},
    {"trained_betas": [0.001 + 0.00002 * step for step in range(500)], "num_train_timesteps": 500},
    {"set_alpha_to_one": True},
    {"steps_offset": 0},
    {"_class_name": "EulerDiscreteScheduler", "sigma_min": 0.1, "sigma_max": 10.0},
    {"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -2.0},
    {"_class_name": "PNDMScheduler", "skip_prk_steps": True},
], ids=lambda changes: "-".join(changes))  # fmt: skip
def test_settings_of_a_checkpoint_have_their_effect(changes: dict[str, Any]):
    for name in SAMPLERS:
        require_equal(name, HOUSE | changes, 9)


def test_settings_that_are_missing_have_the_defaults_of_diffusers():
    for name in SAMPLERS:
        require_equal(name, {"_class_name": "DDIMScheduler", "beta_schedule": "linear"}, 6)


def test_the_names_are_the_services():
    assert set(SAMPLERS) <= set(OF_THE_SERVICE)


def test_an_unknown_sampler_is_refused_with_those_that_are_known():
    with pytest.raises(InvalidRequest, match=r"no sampler 'UniPC'; it has Euler, Euler a, DDIM, DPM\+\+ 2M"):
        build_sampler("UniPC", read_schedule(HOUSE), 4)


@pytest.mark.parametrize(("name", "steps"), [("DDIM", 1001), ("DDIM", 1000), ("DPM++ 2M", 1000), ("Euler Karras", 1)])
def test_steps_that_a_sampler_cannot_take_are_refused(name: str, steps: int):
    with pytest.raises(InvalidRequest, match="steps with this model"):
        build_sampler(name, read_schedule(HOUSE | {"timestep_spacing": "leading"}), steps)


@pytest.mark.parametrize(("changes", "name"), [
    ({"beta_schedule": "squaredcos_cap_v2"}, "DDIM"), ({"prediction_type": "flow_prediction"}, "DDIM"),
    ({"timestep_spacing": "sideways"}, "DDIM"), ({"num_train_timesteps": 10**9}, "DDIM"),
    ({"timestep_type": "continuous"}, "Euler"), ({"variance_type": "learned"}, "DPM++ 2M"),
    ({"prediction_type": "sample"}, "Euler a"),
])  # fmt: skip
def test_schedules_that_cannot_be_computed_are_refused(changes: dict[str, Any], name: str):
    with pytest.raises(PackageUnsupported):
        build_sampler(name, read_schedule(HOUSE | changes), 4)
