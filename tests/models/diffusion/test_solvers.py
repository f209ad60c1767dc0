"""Each sampler takes the very steps of the solver that it is named after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import diffusers
import pytest
import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

from models.catalog.samplers import REFUSED, SAMPLERS
from tests.models.diffusion.driving import BETAS, SHAPE, Gaussian, alpha_of, build, end_of, plain_name, start_of
from tests.models.diffusion.solvers import SOLVERS, Noise, Solver, dpmpp_3m_sde


def sigmas_of(scheduler: Any) -> Sequence[float]:
    """What the steps begin and end with, each once."""
    if hasattr(scheduler, "sigmas"):
        return [float(each) for each in torch.unique_consecutive(scheduler.sigmas)]
    alphas = scheduler.alphas_cumprod[torch.unique_consecutive(scheduler.timesteps)]
    return [*(float(each) for each in ((1 - alphas) / alphas).sqrt()), 0.0]


def noise_of(scheduler: Any, sigmas: Sequence[float], seed: int = 1) -> Noise:
    """The noise that the scheduler will draw for the same seed."""
    if isinstance(scheduler, diffusers.DPMSolverSDEScheduler):
        tree: Noise = BrownianTreeNoiseSampler(torch.zeros(SHAPE), sigmas[-2], sigmas[0], seed)
        return tree
    generator = torch.Generator().manual_seed(seed)
    return lambda now, then: torch.randn(SHAPE, generator=generator)


def solver_error(scheduler: Any, solver: Solver) -> float:
    """How far the scheduler's outcome is from that of the solver of the same sigmas, noise and start."""
    data, sigmas = Gaussian(0.5), sigmas_of(scheduler)
    start = start_of(scheduler)
    found = end_of(scheduler, data, start)
    if float(scheduler.init_noise_sigma) == 1:  # it works on latents of unit variance
        start = start * math.sqrt(sigmas[0] ** 2 + 1)
    expected = solver(data.denoise, start, sigmas, noise_of(scheduler, sigmas))
    return float((found - expected).abs().max())


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if plain_name(name) in SOLVERS])
def test_it_is_the_solver_of_its_name(sampler: str) -> None:
    scheduler = build(sampler, 10, set_alpha_to_one=True)
    assert solver_error(scheduler, SOLVERS[plain_name(sampler)]) < 1e-3


def test_unipc_comes_to_what_is_known() -> None:
    data, scheduler = Gaussian(0.5), build("UniPC", 100)
    start = start_of(scheduler)
    alpha = alpha_of(scheduler, scheduler.timesteps[0])
    expected = start * data.spread / math.sqrt(alpha * data.spread**2 + 1 - alpha)
    assert float((end_of(scheduler, data, start) - expected).std()) < 0.01 * data.spread


def test_the_comparison_can_tell() -> None:
    names = [name for name in SOLVERS if name not in ("Euler a", "DDIM")]
    for name, other in pairwise([*names, names[0]]):
        assert solver_error(build(name, 8), SOLVERS[other]) > 5e-3, f"{name} would pass for {other}"


def test_diffusers_has_no_dpmpp_3m_sde_yet() -> None:
    assert "DPM++ 3M SDE" in REFUSED
    third = diffusers.DPMSolverMultistepScheduler.from_config(
        BETAS, algorithm_type="sde-dpmsolver++", solver_order=3, lower_order_final=False
    )
    third.set_timesteps(20)
    assert solver_error(third, dpmpp_3m_sde) > 0.1, "diffusers has mended it: the sampler can be drawn with now"


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if plain_name(name) != name])
def test_karras_and_exponential_steps_are_a1111s(sampler: str) -> None:
    trained = build("Euler", 1000, timestep_spacing="linspace").sigmas
    low, high, parts = float(trained[-2]), float(trained[0]), [number / 9 for number in range(10)]
    expected = [high * (low / high) ** at for at in parts]
    if sampler.endswith("Karras"):
        root_low, root_high = low ** (1 / 7), high ** (1 / 7)
        expected = [(root_high + at * (root_low - root_high)) ** 7 for at in parts]
    scheduler = build(sampler, 10, timestep_spacing="leading", steps_offset=1)
    assert sigmas_of(scheduler) == pytest.approx([*expected, 0.0], rel=1e-4)
