"""Schedulers for rows: what they take from the checkpoint's own, where they may start, and what they foresee."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import diffusers
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image

from models.catalog.samplers import FLOW_MATCHING, NOISE_SCHEDULE, SAMPLERS
from models.diffusion.sampling import build_scheduler, predict_original, scheduler_class, step_options, training_of
from models.errors import DrawingFailed
from tests.models.diffusion.driving import (
    BETAS,
    SAMPLED,
    SHAPE,
    Gaussian,
    alpha_of,
    build,
    drawing,
    end_of,
    plain_name,
    start_of,
)
from tests.models.diffusion.rig import Studio, pixel_difference

FLOW = {"num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": False}
CLASHES: dict[str, Any] = {
    "use_karras_sigmas": True, "use_exponential_sigmas": True, "use_beta_sigmas": True, "use_lu_lambdas": True,
    "clip_sample": True, "thresholding": True, "interpolation_type": "log_linear", "final_sigmas_type": "sigma_min",
    "algorithm_type": "sde-dpmsolver", "solver_type": "logrho", "solver_order": 3, "euler_at_final": True,
    "lower_order_final": False, "predict_x0": False, "skip_prk_steps": False, "original_inference_steps": 10,
}  # fmt: skip
"""What a checkpoint's scheduler may be set to, each good for some other solver."""

every_sampler = pytest.mark.parametrize("sampler", SAMPLED)


@every_sampler
def test_what_the_checkpoints_scheduler_was_set_to_changes_nothing(sampler: str) -> None:
    clean, clashing = build(sampler, 6), build(sampler, 6, **CLASHES)
    end = end_of(clean, Gaussian(0.5), start_of(clean))
    assert end.isfinite().all() and torch.equal(end, end_of(clashing, Gaussian(0.5), start_of(clashing)))


@every_sampler
def test_a_start_in_the_middle_ends_as_well_as_one_from_noise_or_is_refused(sampler: str) -> None:
    data, scheduler = Gaussian(0.05), build(sampler, 20, steps_offset=1)

    def error(first: int) -> float:
        scheduler.set_timesteps(20)
        start = start_of(scheduler, first * scheduler.order, data if first else None)
        return abs(float(end_of(scheduler, data, start, first * scheduler.order).std()) / data.spread - 1)

    able = error(10) <= error(0) * 1.1 + 0.04
    problem = SAMPLERS[sampler].img2img_problem
    assert able or problem is not None
    assert not able or problem is None or SAMPLERS[sampler].layout, "it need not be refused"


@every_sampler
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_few_steps(sampler: str, spacing: str) -> None:
    scheduler = build(sampler, 3, timestep_spacing=spacing)
    for steps in (1, 2, 3):
        scheduler.set_timesteps(steps)
        if steps < SAMPLERS[sampler].min_steps:
            assert float(scheduler.timesteps[0]) < 1, "it begins with noise as it should: no need to refuse it"
        else:
            assert end_of(scheduler, Gaussian(0.5), start_of(scheduler)).isfinite().all()


@every_sampler
def test_more_steps_than_it_takes_are_an_error(sampler: str) -> None:
    most = SAMPLERS[sampler].max_steps
    assert len(build(sampler, most or 150).timesteps) >= (most or 150)
    if most is not None:
        with pytest.raises(ValueError, match="num_inference_steps"):
            build(sampler, most + 1)


@every_sampler
def test_the_noise_is_the_seeds_and_nobody_elses(sampler: str) -> None:
    schedulers = {seed: build(sampler, 4, seed) for seed in (1, 2)}

    def begin(seed: int) -> Iterator[torch.Tensor]:
        schedulers[seed].set_timesteps(4)
        return drawing(schedulers[seed], Gaussian(0.5), start_of(schedulers[seed]), seed=seed)

    state = torch.random.get_rng_state()
    *_, alone = begin(1)
    *_, (in_turn, other) = zip(begin(1), begin(2), strict=True)
    assert torch.equal(alone, in_turn)
    assert torch.equal(torch.random.get_rng_state(), state)
    restarts = plain_name(sampler) != "Restart"  # with so few steps, there are no restarts
    assert torch.equal(alone, other) != (SAMPLERS[sampler].adds_noise and restarts)


@every_sampler
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_original_is_predicted_at_every_call(sampler: str, prediction_type: str) -> None:
    scheduler = build(sampler, 8, prediction_type=prediction_type)
    latents, noise = start_of(scheduler), torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    options = step_options(scheduler, torch.Generator())
    for timestep in scheduler.timesteps:
        alpha = alpha_of(scheduler, timestep)
        original = Gaussian(0.5).denoise(noise, 1.0)
        model_input = math.sqrt(alpha) * original + math.sqrt(1 - alpha) * noise
        velocity = math.sqrt(alpha) * noise - math.sqrt(1 - alpha) * original
        output = noise if prediction_type == "epsilon" else velocity
        assert torch.allclose(predict_original(scheduler, model_input, timestep, output), original, atol=0.05)
        scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(output, timestep, latents, **options)[0]


def test_a_model_that_predicts_the_original_itself() -> None:
    scheduler, latents = build("Euler", 4, prediction_type="sample"), torch.randn(SHAPE)
    assert torch.equal(predict_original(scheduler, latents, scheduler.timesteps[0], latents / 2), latents / 2)


def test_steps_that_end_where_the_next_begins() -> None:
    for sampler, in_company in (("DDIM", "leading"), ("PLMS", "leading"), ("Euler", "linspace")):
        assert build(sampler, 5, timestep_spacing="linspace").config.timestep_spacing == in_company
        assert build(sampler, 5, timestep_spacing="trailing").config.timestep_spacing == "trailing"


@every_sampler
def test_a_model_that_starts_from_pure_noise(sampler: str) -> None:
    kind = scheduler_class(SAMPLERS[sampler].scheduler)
    if "rescale_betas_zero_snr" in inspect.signature(kind).parameters:
        assert build(sampler, 5, rescale_betas_zero_snr=True).alphas_cumprod[-1] < 1e-7
    else:
        with pytest.raises(DrawingFailed, match="cannot start from pure noise"):
            build(sampler, 5, rescale_betas_zero_snr=True)


@every_sampler
def test_models_of_flow_matching(sampler: str) -> None:
    if sampler != "Euler":
        with pytest.raises(DrawingFailed, match=r"cannot draw with models of flow matching"):
            build_scheduler(sampler, FLOW, 1)
        return
    scheduler: Any = build_scheduler(sampler, FLOW, 1)
    assert isinstance(scheduler, diffusers.FlowMatchEulerDiscreteScheduler) and scheduler.config.shift == 3.0
    scheduler.set_timesteps(4)
    original, noise = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(0))
    latents = noise
    for timestep in scheduler.timesteps:
        assert torch.allclose(predict_original(scheduler, latents, timestep, noise - original), original, atol=1e-4)
        latents = scheduler.step(noise - original, timestep, latents, **step_options(scheduler, torch.Generator()))[0]
    assert torch.allclose(latents, original, atol=1e-4)


def test_kinds_of_models() -> None:
    for name in ("DDIMScheduler", "EulerDiscreteScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler"):
        assert training_of(getattr(diffusers, name)().config) == NOISE_SCHEDULE
    assert training_of(diffusers.FlowMatchEulerDiscreteScheduler().config) == FLOW_MATCHING


@pytest.mark.parametrize("sampler", ["euler", "DPM adaptive", "", "Euler\0"])
def test_a_sampler_that_nobody_knows(sampler: str) -> None:
    with pytest.raises(DrawingFailed, match="there is no sampler"):
        build_scheduler(sampler, BETAS, 1)


@pytest.mark.parametrize("sampler", SAMPLED)
def test_the_plain_img2img_pipeline_takes_the_scheduler(tiny_sd: Studio, sampler: str) -> None:
    pipeline = StableDiffusionImg2ImgPipeline(**tiny_sd.plain.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)

    pipeline.scheduler = build_scheduler(sampler, tiny_sd.checkpoint.pipeline.scheduler.config, 1)

    def draw(colour: str, steps: int, strength: float) -> Image.Image:
        image: Image.Image = pipeline(
            "a cat", image=Image.new("RGB", (64, 64), colour), num_inference_steps=steps, strength=strength,
            generator=torch.Generator().manual_seed(1),
        ).images[0]  # fmt: skip
        return image

    for steps, strength in ((4, 0.5), (3, 0.4), (2, 0.5)):
        assert pixel_difference(draw("red", steps, strength), draw("navy", steps, strength)) > 8


def test_the_steps_of_the_training_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """DPM2 takes 0.4 s for that, which an image of it must not wait for."""
    config = dict(diffusers.EulerDiscreteScheduler(beta_start=0.0007).config)
    first = build_scheduler("DPM2", config, 1)
    calls: list[object] = []
    compute = diffusers.KDPM2DiscreteScheduler.set_timesteps
    monkeypatch.setattr(
        diffusers.KDPM2DiscreteScheduler, "set_timesteps", lambda *args: calls.append(args) or compute(*args)
    )
    second = build_scheduler("DPM2", config, 2)
    assert calls == [] and second is not first
    first.set_timesteps(3)
    assert len(second.timesteps) == 1999 and second.sigmas is not first.sigmas
    build_scheduler("DPM2", config | {"beta_start": 0.0008}, 1)
    assert len(calls) == 2
