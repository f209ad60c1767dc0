"""Stacked steps are those of ``scheduler.step``, to the bit, and leave the schedulers in the same state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from models.catalog.samplers import SAMPLERS
from models.diffusion.denoising_work import DenoisingToImage
from models.diffusion.stepping import advance as advancing
from models.diffusion.stepping.euler import EulerAncestral
from models.diffusion.stepping.tables import StepTable
from models.errors import InternalFailure
from tests.models.diffusion.driving import SAMPLED
from tests.models.diffusion.stepping.rows import output_for, row

STACKED = (
    "Euler", "Euler a", "Heun", "DPM++ 2M", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DDIM", "LCM", "UniPC",
)  # fmt: skip
"""The solvers whose rows step together, with all of their layouts."""
ROUNDED_OTHERWISE = ("UniPC",)
"""diffusers multiplies matrices in their steps, so the last bit may differ."""
WITHOUT_SAMPLE = ("Euler a",)
"""They refuse models that predict the noiseless latents."""
NAMES = [name for name, sampler in SAMPLED.items() if sampler.solver in STACKED]

Rows = list[DenoisingToImage]


def step_alone(rows: Rows) -> None:
    """Take one step of each row, one by one."""
    for each in rows:
        each.step_by_scheduler(output_for(each.latents))


def step_together(rows: Rows) -> None:
    """Take one step of all rows, and see to it that no scheduler steps by itself."""
    with pytest.MonkeyPatch.context() as patch:
        for each in rows:
            patch.setattr(each, "step_by_scheduler", None)
        assert advancing.advance(rows, [output_for(each.latents) for each in rows]) == [None] * len(rows)


def same(first: Any, second: Any) -> bool:
    """Whether two parts of a scheduler's state are equal; numbers may be tensors."""
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if first is None or second is None:
        return first is second
    return torch.equal(torch.as_tensor(first).squeeze(), torch.as_tensor(second).squeeze())


def state_of(scheduler: Any) -> Mapping[str, Any]:
    """All that ``step`` changes."""
    names = (
        "_step_index", "model_outputs", "lower_order_nums", "prev_derivative", "dt", "sample", "this_order",
        "last_sample", "timestep_list",
    )  # fmt: skip
    return {name: getattr(scheduler, name) for name in names if hasattr(scheduler, name)}


def check(alone: Rows, together: Rows, *, tolerance: float = 0.0) -> None:
    """Take all steps of both, and compare latents, state and random numbers after each; rows end at different times."""
    while alone:
        step_alone(alone)
        step_together(together)
        for plain, stacked in zip(alone, together, strict=True):
            assert torch.allclose(plain.latents, stacked.latents, rtol=tolerance, atol=tolerance)
            assert plain.latents.isfinite().all()
            if not tolerance:
                states = state_of(plain.scheduler), state_of(stacked.scheduler)
                assert states[0].keys() == states[1].keys()
                assert [name for name in states[0] if not same(states[0][name], states[1][name])] == []
            if "generator" in plain.options:
                assert torch.equal(plain.options["generator"].get_state(), stacked.options["generator"].get_state())
        left = [number for number, each in enumerate(alone) if each.step < each.steps]
        alone, together = [alone[number] for number in left], [together[number] for number in left]


def rows_of(sampler: str, **config: Any) -> Rows:
    """Pairs of rows, of different lengths; one pair starts in the middle."""
    starts = ((6, 0), (6, 0), (20, 0), (20, 0), (9, 3), (9, 3))
    able = SAMPLERS[sampler].img2img_problem is None
    return [row(sampler, seed, steps, first if able else 0, **config) for seed, (steps, first) in enumerate(starts)]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("sampler", NAMES)
def test_it_is_the_schedulers_own_step_to_the_bit(sampler: str, prediction_type: str) -> None:
    solver = SAMPLERS[sampler].solver
    if prediction_type == "sample" and solver in WITHOUT_SAMPLE:
        assert row(sampler, 1, prediction_type=prediction_type).table.family is None
        return
    config = {"prediction_type": prediction_type}
    tolerance = 1e-6 if solver in ROUNDED_OTHERWISE else 0.0
    check(rows_of(sampler, **config), rows_of(sampler, **config), tolerance=tolerance)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("sampler", STACKED)
def test_with_other_timesteps(sampler: str, spacing: str) -> None:
    config = {"timestep_spacing": spacing, "steps_offset": 1, "set_alpha_to_one": False}
    tolerance = 1e-6 if sampler in ROUNDED_OTHERWISE else 0.0
    check(rows_of(sampler, **config), rows_of(sampler, **config), tolerance=tolerance)


def test_flow_matching() -> None:
    check(rows_of("Euler", flow=True), rows_of("Euler", flow=True))


def test_all_solvers_at_once() -> None:
    def rows() -> Rows:
        return [row(name, seed, 5 + seed % 4) for seed, name in enumerate(STACKED) for _ in range(2)]

    check(rows(), rows(), tolerance=1e-6)


@pytest.mark.parametrize("sampler", STACKED)
def test_steps_alone_and_together_in_turn(sampler: str) -> None:
    """A row that has lost its neighbours goes on from the state that the stacked steps left."""
    alone, mixed = ([row(sampler, seed, 16) for seed in range(3)] for _ in range(2))
    for number in range(alone[0].steps):
        step_alone(alone)
        (step_alone if number % 3 == 1 else step_together)(mixed)
    tolerance = 1e-6 if sampler in ROUNDED_OTHERWISE else 0.0
    for plain, other in zip(alone, mixed, strict=True):
        assert torch.allclose(plain.latents, other.latents, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("sampler", STACKED)
def test_half_precision_keeps_its_dtype(sampler: str, dtype: torch.dtype) -> None:
    rows = rows_of(sampler)
    for each in rows:
        each.latents = each.latents.to(dtype)
    for number in range(6):
        (step_alone if number % 3 == 2 else step_together)(rows)
        assert all(each.latents.dtype == dtype and each.latents.isfinite().all() for each in rows)


def test_samplers_without_a_family_and_options_that_a_family_does_not_know_step_by_themselves() -> None:
    for name in SAMPLERS:
        assert (row(name, 1).table.family is not None) == (SAMPLERS[name].solver in STACKED), name
    scheduler: Any = row("DPM++ 2M", 1).scheduler
    for option in ({"thresholding": True}, {"solver_order": 3}, {"variance_type": "learned"}):
        other = type(scheduler).from_config(scheduler.config, **option)
        other.set_timesteps(5)
        assert StepTable.of(other).family is None, option


def test_a_row_at_fault_fails_alone() -> None:
    alone, together = ([row("Euler a", seed) for seed in range(4)] for _ in range(2))
    outputs = [output_for(each.latents) for each in alone]
    together[2].scheduler.set_begin_index(1000)
    failures = advancing.advance(together, outputs)
    assert [isinstance(each, InternalFailure) for each in failures] == [False, False, True, False]
    step_alone(alone)
    assert all(torch.equal(alone[number].latents, together[number].latents) for number in (0, 1, 3))


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("sampler", STACKED)
def test_a_row_whose_numbers_overflow_changes_no_other(sampler: str, place: int) -> None:
    alone, together = ([row(sampler, seed) for seed in range(4)] for _ in range(2))
    while alone:
        outputs = [output_for(each.latents) for each in alone]
        outputs[place] = torch.full_like(outputs[place], torch.inf)
        for each, output in zip(alone, outputs, strict=True):
            advancing.advance([each], [output])
        advancing.advance(together, outputs)
        for number in set(range(4)) - {place}:
            assert alone[number].latents.isfinite().all()
            assert torch.allclose(alone[number].latents, together[number].latents, rtol=1e-6, atol=1e-6)
        if alone[0].step == alone[0].steps:
            return


def test_a_stacked_step_that_fails_takes_no_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, together = ([row("Euler a", seed) for seed in range(4)] for _ in range(2))
    outputs = [output_for(each.latents) for each in alone]

    def fail(*_: object) -> None:
        raise RuntimeError("after the noise was drawn")

    monkeypatch.setattr(EulerAncestral, "step", fail)
    assert advancing.advance(together, outputs) == [None] * 4
    step_alone(alone)
    assert all(torch.equal(one.latents, other.latents) for one, other in zip(alone, together, strict=True))
