"""The full form is the plain forward, and the shallow one is too where the deep feature is not stale."""

from __future__ import annotations

import pytest
import torch

from models.diffusion.backends.deepcache import DeepCacheUNet, is_full_step
from models.diffusion.backends.inputs import Inputs
from models.diffusion.denoiser import Conditioning
from tests.models.diffusion.backends.unets import KINDS, build_unet, inputs_for, relative_difference, run_torch

SIZES = [(8, 8), (9, 14)]


@torch.inference_mode()
def full(unet: DeepCacheUNet, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    return unet.full(inputs.latents, inputs.timesteps, inputs.conditioning)


@torch.inference_mode()
def shallow(unet: DeepCacheUNet, inputs: Inputs, deep: torch.Tensor) -> torch.Tensor:
    return unet.shallow(inputs.latents, inputs.timesteps, inputs.conditioning, deep)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_step_is_the_plain_forward_and_a_fresh_feature_changes_nothing(
    kind: str, depth: int, size: tuple[int, int]
) -> None:
    unet = build_unet(kind)
    inputs, cached = inputs_for(unet, 3, size), DeepCacheUNet(unet, depth)
    output, deep = full(cached, inputs)
    assert torch.equal(output, run_torch(unet, inputs))
    assert torch.equal(shallow(cached, inputs, deep), output)


def test_a_stale_feature_is_an_approximation() -> None:
    unet = build_unet()
    inputs, cached = inputs_for(unet), DeepCacheUNet(unet)
    _, deep = full(cached, inputs)
    later = Inputs(inputs.latents, inputs.timesteps.clone() - 1, inputs.conditioning)
    difference = relative_difference(shallow(cached, later, deep), run_torch(unet, later))
    assert 0 < difference < 0.1
    assert relative_difference(shallow(cached, later, torch.zeros_like(deep)), run_torch(unet, later)) > difference


def test_rows_share_a_forward_whatever_the_age_of_their_features() -> None:
    unet = build_unet()
    inputs, cached = inputs_for(unet, 2), DeepCacheUNet(unet)
    first, second = (_only(inputs, number) for number in range(2))
    old, new = full(cached, _only(inputs_for(unet, 4), 3))[1], full(cached, second)[1]
    together = shallow(cached, inputs, torch.cat([old, new]))
    assert relative_difference(together[:1], shallow(cached, first, old)) < 1e-5
    assert relative_difference(together[1:], run_torch(unet, second)) < 1e-5


def _only(inputs: Inputs, number: int) -> Inputs:
    chosen = slice(number, number + 1)
    states = Conditioning(inputs.conditioning.hidden_states[chosen])
    return Inputs(inputs.latents[chosen], inputs.timesteps[chosen], states)


@pytest.mark.parametrize("depth", [0, 3])
def test_a_level_must_be_left_to_skip(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth must be from 1 to 2 for this UNet, not {depth}"):
        DeepCacheUNet(build_unet(), depth)


@pytest.mark.parametrize(("interval", "expected"), [(1, [0, 1, 2, 3, 4, 5, 6]), (2, [0, 2, 4, 6]), (3, [0, 3, 6])])
def test_full_steps(interval: int, expected: list[int]) -> None:
    assert [step for step in range(7) if is_full_step(step, interval)] == expected
