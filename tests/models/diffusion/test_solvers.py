"""Each sampler takes the very steps of the solver that it is named after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import diffusers
import numpy as np
import pytest
import scipy.stats
import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

from models.catalog.samplers import LAYOUTS, SAMPLERS
from models.diffusion import solvers
from models.diffusion.layouts import trained_sigmas
from models.diffusion.sampling import build_scheduler
from models.diffusion.solvers import DPMSolver2SAncestral
from tests.models.diffusion.driving import BETAS, SHAPE, Gaussian, alpha_of, build, end_of, plain_name, start_of
from tests.models.diffusion.solvers import SOLVERS, Noise, Solver, dpm_fast, dpmpp_3m_sde, restart

TRAINED = trained_sigmas(diffusers.EulerDiscreteScheduler.from_config(BETAS))

AYS_RISING = (0.029, 0.152, 0.399, 0.652, 0.963, 1.396, 1.886, 2.697, 3.861, 6.475, 14.615)


def sigmas_of(scheduler: Any) -> Sequence[float]:
    """What the steps begin and end with, each once."""
    if isinstance(scheduler, DPMSolver2SAncestral):
        return [*scheduler.calls[::2], 0.0]
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
    tolerance = 5e-3 if plain_name(sampler) == "LCM" else 1e-3  # diffusers' LCM mixes in the latents near timestep 0
    assert solver_error(scheduler, SOLVERS[plain_name(sampler)]) < tolerance


def test_unipc_comes_to_what_is_known() -> None:
    data, scheduler = Gaussian(0.5), build("UniPC", 100)
    start = start_of(scheduler)
    alpha = alpha_of(scheduler, scheduler.timesteps[0])
    expected = start * data.spread / math.sqrt(alpha * data.spread**2 + 1 - alpha)
    assert float((end_of(scheduler, data, start) - expected).std()) < 0.01 * data.spread


def test_the_comparison_can_tell() -> None:
    names = [name for name in SOLVERS if name not in ("Euler a", "DDIM", "Restart")]
    for name, other in pairwise([*names, names[0]]):
        assert solver_error(build(name, 8), SOLVERS[other]) > 5e-3, f"{name} would pass for {other}"


def test_dpmpp_sde_draws_on_the_cpu_for_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_for: list[torch.Tensor] = []

    class Watched(solvers.BrownianTreeNoiseSampler):
        def __init__(self, like: torch.Tensor, *others: Any) -> None:
            drawn_for.append(like)
            super().__init__(like, *others)

    monkeypatch.setattr(solvers, "BrownianTreeNoiseSampler", Watched)
    scheduler, latents = build("DPM++ SDE", 4), torch.empty(SHAPE, device="meta")
    following = scheduler.step(latents, scheduler.timesteps[0], latents, return_dict=False)[0]
    assert following.device.type == "meta"
    assert [like.device.type for like in drawn_for] == ["cpu"]


def test_diffusers_has_no_dpmpp_3m_sde_yet() -> None:
    third = diffusers.DPMSolverMultistepScheduler.from_config(
        BETAS, algorithm_type="sde-dpmsolver++", solver_order=3, lower_order_final=False
    )
    third.set_timesteps(20)
    assert solver_error(third, dpmpp_3m_sde) > 0.1, "diffusers has mended it: its scheduler can take the place of ours"


@pytest.mark.parametrize("steps", range(1, 14))
def test_dpm_fast(steps: int) -> None:
    data, scheduler = Gaussian(0.5), build("DPM fast", steps)
    assert len(scheduler.timesteps) == steps
    start, (low, high) = start_of(scheduler), TRAINED[[0, -1]]
    expected = dpm_fast(data.denoise, start, high, low, steps)
    assert float((end_of(scheduler, data, start) - expected).abs().max()) < 1e-3


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("steps", [20, 40])
def test_restarts_of_any_layout(layout: str, steps: int) -> None:
    scheduler = build(f"Restart {layout}", steps)
    assert len(scheduler.timesteps) == 2 * steps - 1
    assert scheduler.calls.count(0.0) == 1, "it never restarts from the finished image"
    assert solver_error(scheduler, restart) < 1e-3


@pytest.mark.parametrize(("steps", "rises"), [(19, 0), (20, 1), (35, 1), (36, 2), (60, 2)])
def test_restarts(steps: int, rises: int) -> None:
    scheduler = build("Restart Karras", steps)
    assert len(scheduler.timesteps) == 2 * steps - 1, "a restart adds no step"
    sigmas = sigmas_of(scheduler)
    found = [(now, then) for now, then in pairwise(sigmas) if then > now]
    assert len(found) == rises
    assert all(abs(now - 0.1) < 0.05 and abs(then - 2) < 0.5 for now, then in found)
    assert solver_error(scheduler, restart) < 1e-3


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if plain_name(name) != name])
def test_steps_are_laid_out_as_in_a1111(sampler: str) -> None:
    scheduler = build(sampler, 10, timestep_spacing="leading", steps_offset=1)
    tolerance = 0.05 if plain_name(sampler) == "LCM" else 1e-4  # LCM's timesteps are whole numbers
    layout = SAMPLERS[sampler].layout
    assert layout is not None
    assert sigmas_of(scheduler) == pytest.approx([*expected_layout(layout, 10), 0.0], rel=tolerance)


def expected_layout(layout: str, steps: int) -> list[float]:
    """The layout by A1111's own formula, one sigma after the other."""
    low, high, parts = TRAINED[0], TRAINED[-1], [number / (steps - 1) for number in range(steps)]
    root_low, root_high = low ** (1 / 7), high ** (1 / 7)

    def at(timestep: float) -> float:
        before = min(int(timestep), 998)
        share = timestep - before
        return float(TRAINED[before] ** (1 - share) * TRAINED[before + 1] ** share)

    return [float(each) for each in {
        "Karras": [(root_high + part * (root_low - root_high)) ** 7 for part in parts],
        "Exponential": [high * (low / high) ** part for part in parts],
        "SGM Uniform": [at(999 - 999 * number / steps) for number in range(steps)],
        "Simple": [TRAINED[-(1 + int(number * 1000 / steps))] for number in range(steps)],
        "Normal": [at(999 * (1 - part)) for part in parts],
        "DDIM": [TRAINED[number] for number in range(1, 1000, 1000 // steps)][::-1],
        "Beta": [low + scipy.stats.beta.ppf(1 - part, 0.6, 0.6) * (high - low) for part in parts],
        "Align Your Steps": np.exp(np.interp(parts, np.linspace(0, 1, 11), np.log(AYS_RISING)))[::-1],
        "KL Optimal": [math.tan(part * math.atan(low) + (1 - part) * math.atan(high)) for part in parts],
    }[layout]]  # fmt: skip


def test_align_your_steps_is_the_table_of_the_model() -> None:
    tables = diffusers.schedulers.AysSchedules
    for is_sdxl, name in ((False, "StableDiffusionSigmas"), (True, "StableDiffusionXLSigmas")):
        scheduler: Any = build_scheduler("DPM++ 2M Align Your Steps", BETAS, 1, is_sdxl=is_sdxl)
        scheduler.set_timesteps(11)
        assert scheduler.sigmas.tolist() == pytest.approx([*tables[name][:-1], 0.029, 0.0])
    other: Any = build_scheduler("Euler Align Your Steps", BETAS | {"beta_end": 0.02}, 1)
    other.set_timesteps(11)
    trained = trained_sigmas(other)
    assert other.sigmas[[0, -2]].tolist() == pytest.approx(trained[[-1, 0]].tolist()), "stretched to the trained range"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("steps", [2, 3, 7, 20, 33, 150])
def test_every_layout_falls_and_has_as_many_steps_as_asked_for(layout: str, steps: int) -> None:
    sigmas = build(f"Euler {layout}", steps).sigmas
    assert len(sigmas) == steps + 1 and bool((sigmas.diff() < 0).all()) and sigmas[-1] == 0
