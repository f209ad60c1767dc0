"""The law for composed prompts: a row of several prompts beside plain rows, alone, and joining late."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.diffusion.denoising import Denoising
from models.errors import DrawingFailed
from models.jobs.params import Control, DrawParams, Mask, SecondPass
from tests.models.diffusion.rig import (
    Studio,
    WatchedDenoiser,
    add_row,
    failures,
    images,
    params,
    pixel_difference,
    prepare,
    run,
)
from tests.models.diffusion.test_law_images import IMAGES
from tests.tiny import build_tiny_controlnet

COMPOSED = ("a cat AND a red house", "a cat AND a red house :0.4 AND a (dog:1.3) :-0.5", "a cat :0.5 AND a dog :0")
Rows = dict[str, tuple[str, DrawParams]]


def crowd(**changes: Any) -> Rows:
    """Composed and plain prompts, with several samplers and scales, in all kinds."""
    found: Rows = {}
    for number, sampler in enumerate(("Euler", "Euler a", "DPM++ 2M Karras", "Heun", "DDIM", "LCM")):
        common = {"sampler": sampler, "seed": number, "num_inference_steps": 4 + number % 2, **changes}
        scale = (5.0, 1.0, 7.5)[number % 3]
        composed = params(prompt=COMPOSED[number % 3], guidance_scale=scale, negative_prompt="ugly", **common)
        kind = (TXT2IMG, IMG2IMG, TXT2IMG)[number % 3]
        found[f"composed {number}"] = (
            kind,
            composed
            if kind == TXT2IMG
            else params(prompt=COMPOSED[number % 3], guidance_scale=scale, image="input:photo", strength=0.6, **common),
        )
        found[f"plain {number}"] = TXT2IMG, params(prompt="a dog", guidance_scale=(5.0, 1.0)[number % 2], **common)
    return found


def drawn(studio: Studio, rows: Rows, late: int = 0, **options: Any) -> dict[str, Image.Image]:
    """The images of ``rows``, each of which joins ``late`` steps after the one before it."""
    extras = options.pop("extras", {})
    engine = studio.engine(**{"rows": 16} | options)
    events = []
    for row_id, (kind, wanted) in rows.items():
        add_row(engine, row_id, wanted, studio.spec, kind, IMAGES, **extras)
        events += [event for _ in range(late) for event in engine.step()]
    events += run(engine)
    assert failures(events) == {}
    return images(events)


def check(studio: Studio, rows: Rows, late: int = 0, **options: Any) -> None:
    """Each of ``rows`` gives the same image as alone."""
    together = drawn(studio, rows, late, **options)
    for row_id, row in rows.items():
        alone = drawn(studio, {row_id: row}, **options)[row_id]
        assert pixel_difference(alone, together[row_id]) <= 1, row_id


def alone(studio: Studio, prompt: str, **changes: Any) -> Image.Image:
    return drawn(studio, {"row": (TXT2IMG, params(prompt=prompt, **changes))})["row"]


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("model", ["tiny_sd", "tiny_sdxl"])
def test_beside_plain_rows(request: pytest.FixtureRequest, model: str, late: int) -> None:
    check(request.getfixturevalue(model), crowd(), late)


def test_with_reused_features(tiny_sd: Studio) -> None:
    check(tiny_sd, crowd(reuse_interval=2), late=1)


def test_with_a_second_pass(tiny_sd: Studio) -> None:
    rows = {name: row for name, row in crowd(second_pass=SecondPass(scale=1.5)).items() if row[0] == TXT2IMG}
    check(tiny_sd, rows, late=1)


def test_inpaint(tiny_sd: Studio) -> None:
    masked = {"image": "input:photo", "mask": Mask(image="input:mask"), "strength": 0.7}
    rows = {
        prompt: (INPAINT, params(prompt=prompt, seed=number, **masked))
        for number, prompt in enumerate((*COMPOSED, "a dog"))
    }
    check(tiny_sd, rows, late=1)


@pytest.mark.parametrize("mode", ["balanced", "prompt", "control"])
def test_with_controlnets(tiny_sd: Studio, tmp_path: Any, mode: str) -> None:
    assert tiny_sd.spec.folder is not None
    path = build_tiny_controlnet(tmp_path / "lines", tiny_sd.spec.folder, seed=1)
    extras = {"controlnets": {"lines": AuxiliaryModel(name="lines", path=path)}}
    rows = crowd()
    guided = params(prompt=COMPOSED[1], controls=(Control(model="lines", image="input:photo", mode=mode),))
    rows["guided"] = TXT2IMG, guided
    check(tiny_sd, rows, extras=extras)
    one = params(prompt="a cat", controls=guided.controls)
    same = params(prompt="a cat :0.5 AND a cat :0.5", controls=guided.controls)
    both = drawn(tiny_sd, {"one": (TXT2IMG, one), "same": (TXT2IMG, same)}, extras=extras)
    assert pixel_difference(both["one"], both["same"]) <= 1


@torch.inference_mode()
def test_it_is_the_weighted_sum_of_differences(tiny_sd: Studio) -> None:
    """Held against the formula, with embeddings and calls of the model of its own."""
    plain: Any = tiny_sd.plain
    wanted = params(prompt=COMPOSED[1].replace("(dog:1.3)", "dog"), negative_prompt="ugly", guidance_scale=6.0)
    row = prepare(tiny_sd, wanted)
    texts = ("ugly", "a cat", "a red house", "a dog")
    states = torch.cat([plain.encode_prompt(text, "cpu", 1, False)[0] for text in texts])
    latents, scheduler = row.latents, tiny_sd.scheduler(wanted)
    scheduler.set_timesteps(wanted.num_inference_steps)
    for timestep in scheduler.timesteps:
        given = scheduler.scale_model_input(latents, timestep).expand(4, -1, -1, -1)
        unprompted, cat, house, dog = plain.unet(given, timestep, states).sample.split(1)
        noise = unprompted + 6 * ((cat - unprompted) + 0.4 * (house - unprompted) - 0.5 * (dog - unprompted))
        latents = scheduler.step(noise, timestep, latents).prev_sample
    assert torch.allclose(finished(row), latents, atol=1e-4)


def finished(row: Denoising) -> torch.Tensor:
    while row.step < row.steps:
        (output,) = row.forward([row])
        assert isinstance(output, torch.Tensor)
        assert row.advance([row], [output]) == [None]
    return row.latents


def test_a_part_of_weight_0_changes_nothing_and_costs_nothing(tiny_sd: Studio) -> None:
    watched = WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    row = {"row": (TXT2IMG, params(prompt="a cat AND a red car :0"))}
    with_part = drawn(tiny_sd, row, denoiser=watched)["row"]
    assert pixel_difference(with_part, alone(tiny_sd, "a cat")) == 0
    assert set(watched.batches) == {2}


def test_only_parts_of_weight_0_draw_the_negative_prompt(tiny_sd: Studio) -> None:
    nothing = alone(tiny_sd, "a cat :0 AND a dog :0", negative_prompt="a red house")
    assert pixel_difference(nothing, alone(tiny_sd, "a red house", guidance_scale=1.0)) <= 1


def test_parts_are_inputs_of_one_forward(tiny_sd: Studio) -> None:
    watched = WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    drawn(tiny_sd, {"row": (TXT2IMG, params(prompt=COMPOSED[1], num_inference_steps=3))}, denoiser=watched)
    assert watched.batches == [4, 4, 4]


def test_parts_matter(tiny_sd: Studio) -> None:
    """The images of the other tests differ by more than those tests allow."""
    cat, composed = alone(tiny_sd, "a cat"), alone(tiny_sd, COMPOSED[0])
    assert pixel_difference(cat, composed) > 8
    assert pixel_difference(alone(tiny_sd, "a cat and a red house"), composed) > 8


def test_a_style_applies_to_each_part(tiny_sd: Studio) -> None:
    styled = alone(tiny_sd, "a cat AND a dog :0.3", style_preset="origami")
    written = [f"folded paper sculpture of a {each}, crisp creases, layered paper, visible fibres, plain backdrop"
               for each in ("cat", "dog")]  # fmt: skip
    same = alone(
        tiny_sd, f"{written[0]} AND {written[1]} :0.3",
        negative_prompt="plastic, metal, drawing, torn paper",
    )  # fmt: skip
    assert pixel_difference(styled, same) == 0


def test_a_distilled_model_says_why_it_cannot(tiny_distilled: Studio) -> None:
    engine = tiny_distilled.engine()
    add_row(engine, "row", params(prompt=COMPOSED[0]), tiny_distilled.spec)
    failure = failures(run(engine))["row"]
    assert isinstance(failure, DrawingFailed) and "cannot compose prompts by AND" in str(failure)
