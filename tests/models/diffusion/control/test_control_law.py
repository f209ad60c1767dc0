"""The law with ControlNets: each row's latents are those of diffusers' own pipeline, whatever the rows beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.diffusion.control.controlnet import Share, prepare_condition, residuals
from models.diffusion.denoiser import Conditioning
from tests.models.diffusion.control.rig import CPU, PX, Control, ControlRequest, ControlStudio, condition

REQUESTS = {
    "none": ControlRequest(),
    "one": ControlRequest((Control("a"),)),
    "one, weak": ControlRequest((Control("a", weight=0.4),), seed=2),
    "the other": ControlRequest((Control("b", weight=1.5),), prompt="a red house", steps=4),
    "two": ControlRequest((Control("a", weight=0.7), Control("b", weight=0.5)), prompt="a dog", steps=6),
    "twice the same": ControlRequest((Control("a", weight=0.7), Control("a", weight=0.3)), seed=3),
    "guess": ControlRequest((Control("a", mode="control"),), prompt=""),
    "guess with two": ControlRequest((Control("a", mode="control"), Control("b", weight=0.6, mode="control"))),
    "in the middle": ControlRequest((Control("b", start=0.2, end=0.8),), steps=7),
    "one after the other": ControlRequest((Control("a", end=0.5), Control("b", start=0.5)), steps=6),
    "unguided": ControlRequest((Control("a"),), guidance_scale=1.0),
    "unguided guess": ControlRequest((Control("b", mode="control"),), guidance_scale=1.0, seed=4),
    "unguided, none": ControlRequest(guidance_scale=1.0),
}
POOLED = {
    "pooled": ControlRequest((Control("pooled", weight=0.8),)),
    "pooled, guess": ControlRequest((Control("pooled", mode="control"),), seed=5),
}


def worst(studio: ControlStudio, requests: dict[str, ControlRequest]) -> dict[str, str]:
    """The rows, drawn together, that are not the plain pipeline's, and by how much."""
    found = {}
    for (name, request), latents in zip(requests.items(), studio.draw(list(requests.values())), strict=True):
        plain = studio.draw_plain(request)
        off = float((latents - plain).abs().max() / plain.abs().max())
        pixels_off = float((studio.pixels(latents) - studio.pixels(plain)).abs().max())
        if off > 1e-4 or pixels_off > 1:
            found[name] = f"latents {off:.1e}, pixels {pixels_off:.2f}"
    return found


def test_sd_all_together(sd: ControlStudio) -> None:
    assert worst(sd, REQUESTS | POOLED) == {}


def test_sdxl_all_together(sdxl: ControlStudio) -> None:
    assert worst(sdxl, REQUESTS) == {}


@pytest.mark.parametrize("name", REQUESTS)
def test_sd_alone(sd: ControlStudio, name: str) -> None:
    assert worst(sd, {name: REQUESTS[name]}) == {}


def test_the_comparison_can_tell(sd: ControlStudio, sdxl: ControlStudio) -> None:
    one = ControlRequest((Control("a"),))
    others = [ControlRequest(), *(ControlRequest((changed,)) for changed in (
        Control("b"), Control("a", weight=0.9), Control("a", mode="control"), Control("a", mode="prompt"),
        Control("a", start=0.2), Control("a", end=0.6),
    )), ControlRequest((Control("a"), Control("b", weight=0.1)))]  # fmt: skip
    for studio in (sd, sdxl):
        mine, *theirs = (studio.pixels(latents) for latents in studio.draw([one, *others]))
        differences = [float((mine - each).abs().max()) for each in theirs]
        assert min(differences) > 2, differences


def test_rows_without_control_stay_as_they_are_to_the_bit(sd: ControlStudio) -> None:
    alone = [ControlRequest(), ControlRequest(guidance_scale=1.0, seed=2), ControlRequest(prompt="a dog", seed=3)]
    beside = ControlRequest((Control("a"), Control("pooled")))
    with_controls, without = sd.draw([*alone, beside]), sd.draw([*alone, replace(beside, controls=())])
    assert [torch.equal(*pair) for pair in zip(with_controls, without, strict=True)] == [True, True, True, False]


def test_a_single_row_and_its_controls_are_the_plain_pipelines_to_the_bit(sd: ControlStudio) -> None:
    for name in ("none", "one", "the other"):
        assert torch.equal(sd.draw([REQUESTS[name]])[0], sd.draw_plain(REQUESTS[name])), name


def test_no_active_control_is_no_residuals(sd: ControlStudio) -> None:
    latents, timesteps = torch.zeros(2, 4, 8, 8), torch.ones(2)
    conditioning = Conditioning(torch.zeros(2, 77, 32))
    late = sd.guide(Control("a", start=0.5))
    assert residuals([Share(2, [late], 0, 4)], latents, timesteps, conditioning) is None
    assert residuals([Share(1, [], 0, 4), Share(1, [], 3, 4)], latents, timesteps, conditioning) is None
    assert residuals([Share(2, [late], 2, 4)], latents, timesteps, conditioning) is not None


def test_prompt_mode_weakens_the_shallow_residuals_of_both_inputs(sd: ControlStudio) -> None:
    torch.manual_seed(0)
    inputs = (torch.randn(2, 4, 8, 8), torch.tensor([500.0, 500.0]), Conditioning(torch.randn(2, 77, 32)))
    with torch.inference_mode():
        soft, balanced = (
            residuals([Share(2, [sd.guide(Control("a", weight=0.5, mode=mode))], 0, 1)], *inputs)
            for mode in ("prompt", "balanced")
        )
    assert soft is not None
    assert balanced is not None
    count = len(balanced.down) + 1
    for number, (mine, plain) in enumerate(zip((*soft.down, soft.mid), (*balanced.down, balanced.mid), strict=True)):
        torch.testing.assert_close(mine, plain * 0.825 ** (count - 1 - number))
        assert plain.abs().amax(dim=(1, 2, 3)).min() > 0


def test_the_factors_of_the_modes(sd: ControlStudio) -> None:
    scales = {
        mode: sd.guide(Control("a", weight=2.0, mode=mode)).scales(13) for mode in ("balanced", "prompt", "control")
    }
    assert scales["balanced"].tolist() == [2.0] * 13
    assert scales["prompt"][[0, 12]].tolist() == pytest.approx([2 * 0.825**12, 2.0])
    assert scales["control"][[0, 12]].tolist() == pytest.approx([0.2, 2.0])
    assert sd.guide(Control("pooled", mode="control")).scales(3).tolist() == [1.0] * 3


@pytest.mark.parametrize(
    ("start", "end", "active"),
    [(0.0, 1.0, [0, 1, 2, 3, 4]), (0.2, 0.8, [1, 2, 3]), (0.3, 1.0, [2, 3, 4]), (0.0, 0.1, []), (0.0, 0.0, [])],
)
def test_the_steps_from_start_to_end(sd: ControlStudio, start: float, end: float, active: list[int]) -> None:
    guide = sd.guide(Control("a", start=start, end=end))
    assert [step for step in range(5) if guide.is_active(step, 5)] == active


def test_the_condition_is_prepared_as_the_plain_pipelines_do(sd: ControlStudio) -> None:
    prepared = prepare_condition(condition("a"), torch.float32, CPU)
    plain = sd._plain([Control("a")])
    expected = plain.prepare_image(condition("a"), PX, PX, 1, 1, CPU, torch.float32)
    assert torch.equal(prepared, expected)
    assert prepared.shape == (1, 3, PX, PX)
    assert 0 <= prepared.min() < prepared.max() <= 1
