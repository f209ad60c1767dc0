"""The names of samplers: all of Prodia's, A1111's ways to write them, and what is refused before anything is drawn."""

from __future__ import annotations

import inspect

import diffusers
import pytest

from models.catalog.samplers import (
    FLOW_MATCHING,
    LISTED,
    NOISE_SCHEDULE,
    REFUSED,
    SAMPLERS,
    find_sampler,
    sampler_problem,
)
from models.diffusion.sampling import scheduler_class

PRODIA = (
    "Euler", "Euler a", "LMS", "Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ SDE", "DPM fast",
    "DPM adaptive", "LMS Karras", "DPM2 Karras", "DPM2 a Karras", "DPM++ 2S a Karras", "DPM++ 2M Karras",
    "DPM++ SDE Karras", "DDIM", "PLMS",
)  # fmt: skip
"""As Prodia v1 lists them."""

SPELLINGS = {
    "Euler": ("euler", "k_euler", "EULER", " Euler "),
    "Euler a": ("euler a", "euler_a", "k_euler_a", "k_euler_ancestral", "euler_ancestral"),
    "LMS Karras": ("k_lms_ka", "lms karras"),
    "DPM2": ("k_dpm_2", "dpm_2"),
    "DPM2 a": ("k_dpm_2_a", "dpm_2_ancestral"),
    "DPM2 a Karras": ("k_dpm_2_a_ka",),
    "DPM++ 2S a Karras": ("k_dpmpp_2s_a_ka",),
    "DPM++ 2M": ("k_dpmpp_2m", "dpmpp_2m", "dpm++ 2m"),
    "DPM++ 2M Karras": ("k_dpmpp_2m_ka", "dpmpp_2m_ka", "DPM++ 2m karras"),
    "DPM++ 2M SDE Heun Exponential": ("k_dpmpp_2m_sde_heun_exp",),
    "DPM++ SDE": ("k_dpmpp_sde", "dpmpp_sde"),
    "DPM++ 3M SDE": ("k_dpmpp_3m_sde",),
    "DPM fast": ("k_dpm_fast",),
    "Restart": ("restart", "k_restart"),
    "DPM++ 2M SDE Align Your Steps": ("k_dpmpp_2m_sde_align_your_steps",),
    "DPM adaptive": ("k_dpm_ad", "dpm_adaptive"),
    "UniPC": ("unipc", "uni_pc"),
    "LCM": ("lcm", "k_lcm"),
}


def test_all_of_prodias_are_listed_once() -> None:
    assert set(PRODIA) <= SAMPLERS.keys() | REFUSED.keys()
    assert not SAMPLERS.keys() & REFUSED.keys()
    assert [name for name in PRODIA if name in REFUSED] == ["DPM adaptive"]
    assert set(PRODIA) - set(REFUSED) <= LISTED.keys() < SAMPLERS.keys()


@pytest.mark.parametrize("name", SAMPLERS)
def test_diffusers_takes_all_of_the_configuration(name: str) -> None:
    sampler = SAMPLERS[name]
    assert sampler.name == name
    parameters = inspect.signature(scheduler_class(sampler.scheduler)).parameters
    assert sampler.config.keys() <= parameters.keys()
    if sampler.flow_scheduler is not None:
        assert hasattr(diffusers, sampler.flow_scheduler)


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(name: str) -> None:
    assert {find_sampler(spelling) for spelling in SPELLINGS[name]} == {name}


@pytest.mark.parametrize("name", (*SAMPLERS, *REFUSED))
def test_its_own_name_is_found(name: str) -> None:
    assert {find_sampler(name), find_sampler(name.lower()), find_sampler(name.replace(" ", "_"))} == {name}


@pytest.mark.parametrize("name", ["", " ", "k", "a", "DPM++", "Euler b", "Karras", "Euler\0", "DPM++ 2M Karras Karras"])
def test_no_such_sampler(name: str) -> None:
    assert find_sampler(name) is None
    problem = sampler_problem(name, num_inference_steps=20)
    assert problem is not None and problem.startswith(f"there is no sampler {name!r}")
    assert problem.endswith(f"; there are: {', '.join(SAMPLERS)}")


@pytest.mark.parametrize(
    ("name", "scheduler", "expected"),
    [
        ("DPM++ 2M", None, "DPM++ 2M"),
        ("DPM++ 2M", "Karras", "DPM++ 2M Karras"),
        ("DPM++ 2M", "karras", "DPM++ 2M Karras"),
        ("k_dpmpp_2m", "exponential", "DPM++ 2M Exponential"),
        ("DPM++ 2M Karras", "Karras", "DPM++ 2M Karras"),
        ("DPM++ 2M", "Uniform", "DPM++ 2M"),
        ("DPM++ 2M", "Automatic", "DPM++ 2M Karras"),
        ("DPM++ 2M SDE", "automatic", "DPM++ 2M SDE Exponential"),
        ("DPM++ 2M Karras", "Automatic", "DPM++ 2M Karras"),
        ("DPM++ 3M SDE", "Automatic", "DPM++ 3M SDE Exponential"),
        ("Euler a", "Automatic", "Euler a"),
        ("DDIM", "Automatic", "DDIM"),
        ("Euler a", "Karras", "Euler a Karras"),
        ("DDIM", "Karras", "DDIM"),
        ("UniPC", "SGM Uniform", "UniPC"),
        ("DPM fast", "Beta", "DPM fast"),
        ("DPM adaptive", "Karras", "DPM adaptive"),
        ("DDIM", "nobody's", None),
        ("DPM++ 2M Karras", "Exponential", None),
        ("DPM++ 2M Karras", "Uniform", None),
        ("Euler", "SGM Uniform", "Euler SGM Uniform"),
        ("k_euler", "sgm_uniform", "Euler SGM Uniform"),
        ("DPM++ 2M SGM Uniform", "SGM Uniform", "DPM++ 2M SGM Uniform"),
        ("DPM++ 2M", "polyexponential", "DPM++ 2M Exponential"),
        ("dpmpp_3m_sde", "Polyexponential", "DPM++ 3M SDE Exponential"),
        ("k_euler_a", "simple", "Euler a Simple"),
        ("Euler a", "normal", "Euler a Normal"),
        ("Heun", "ddim", "Heun DDIM"),
        ("LCM", "beta", "LCM Beta"),
        ("DPM++ SDE", "align_your_steps", "DPM++ SDE Align Your Steps"),
        ("DPM++ 2S a", "KL Optimal", "DPM++ 2S a KL Optimal"),
        ("Restart", "Automatic", "Restart Karras"),
        ("Euler", "Align Your Steps GITS", None),
        ("Euler", "", None),
        ("nobody", "Karras", None),
    ],
)
def test_a_name_in_two_parts(name: str, scheduler: str | None, expected: str | None) -> None:
    assert find_sampler(name, scheduler) == expected


def test_what_automatic_stands_for_is_listed() -> None:
    for name in (*SAMPLERS, *REFUSED):
        found = find_sampler(name, "Automatic")
        assert found in SAMPLERS or found in REFUSED


@pytest.mark.parametrize("name", REFUSED)
def test_the_refused_ones_say_why(name: str) -> None:
    assert sampler_problem(name, num_inference_steps=20) == f"{name} cannot be used: {REFUSED[name]}"


def test_what_a_sampler_cannot_draw() -> None:
    def problem(name: str, steps: int = 20, kind: str = NOISE_SCHEDULE, img2img: bool = False) -> str | None:
        return sampler_problem(name, num_inference_steps=steps, kind=kind, img2img=img2img)

    assert all(problem(name) is None for name in SAMPLERS)
    unable = {SAMPLERS[name].solver for name in SAMPLERS if problem(name, img2img=True)}
    assert unable == {"LMS", "PLMS"}
    assert [name for name in SAMPLERS if problem(name, kind=FLOW_MATCHING) is None] == ["Euler"]
    assert problem("LMS", kind=FLOW_MATCHING) == "LMS cannot draw with models of flow matching; these can: Euler"
    assert problem("Euler Karras", steps=1) == "Euler Karras needs at least 2 steps"
    assert problem("Euler Karras", steps=2) is None and problem("DPM++ 2M Karras", steps=1) is None
    assert problem("LCM", steps=51) == "LCM takes at most 50 steps" and problem("LCM", steps=50) is None
