"""FLUX under the law, dev and schnell, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.families import FLUX, IMG2IMG, INPAINT, TXT2IMG
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.families.flux import pack, positions, unpack
from models.errors import DrawingFailed, ModelUnavailable
from models.jobs.params import LoraUse
from tests.models.diffusion import plain
from tests.models.diffusion.rig import (
    CPU,
    Studio,
    WatchedDenoiser,
    add_row,
    failures,
    images,
    params,
    pixel_difference,
    progress,
    run,
    spec_of,
)
from tests.models.diffusion.test_law_images import IMAGES, over
from tests.tiny import build_tiny_flux, build_tiny_lora

KINDS = (TXT2IMG, IMG2IMG, INPAINT)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return plain.open_studio(build_tiny_flux(tmp_path_factory.mktemp("flux") / "dev", guidance_embeds=True), FLUX)


@pytest.fixture(scope="module")
def schnell(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return plain.open_studio(build_tiny_flux(tmp_path_factory.mktemp("flux") / "schnell", guidance_embeds=False), FLUX)


@pytest.fixture(params=["dev", "schnell"])
def studio(request: pytest.FixtureRequest) -> Studio:
    found: Studio = request.getfixturevalue(request.param)
    return found


def crowd(count: int) -> plain.Rows:
    """Rows of all kinds that differ in everything they may."""
    return {
        f"{number} {kind}": (kind, over(
            kind, seed=number, guidance_scale=(3.5, 1.0, 0.0, 7.0)[number % 4], num_inference_steps=2 + number % 3,
            prompt=("a cat", "a red house (very old:1.2)", "")[number % 3],
        ))
        for number, kind in zip(range(count), KINDS * count, strict=False)
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_alone(studio: Studio, kind: str) -> None:
    plain.check(studio, {"row": (kind, over(kind, num_inference_steps=4))})


@pytest.mark.parametrize("late", [0, 1], ids=["together", "joining late"])
def test_in_mixed_company(studio: Studio, late: int) -> None:
    plain.check(studio, crowd(7), late)


@pytest.mark.parametrize("strength", [0.2, 0.35, 0.99, 1.0])
@pytest.mark.parametrize("kind", [IMG2IMG, INPAINT])
def test_every_strength(dev: Studio, kind: str, strength: float) -> None:
    plain.check(dev, {"row": (kind, over(kind, strength=strength, num_inference_steps=3))})


def test_other_sizes_at_once(dev: Studio) -> None:
    sizes = ((64, 64), (32, 64), (64, 48), (96, 64))
    plain.check(dev, {str(size): (TXT2IMG, params(width=size[0], height=size[1], seed=3)) for size in sizes})


def test_different_guidance_shares_a_forward(dev: Studio) -> None:
    watched = WatchedDenoiser(dev.checkpoint.denoiser)
    engine = dev.engine(watched)
    for row_id, (kind, wanted) in crowd(4).items():
        add_row(engine, row_id, wanted, dev.spec, kind, IMAGES)
    run(engine)
    assert max(watched.batches) == 4


def test_the_guidance_scale_matters_to_dev_alone(dev: Studio, schnell: Studio) -> None:
    for studio, matters in ((dev, True), (schnell, False)):
        low, high = (plain.draw(studio, TXT2IMG, params(guidance_scale=scale)) for scale in (2.0, 6.0))
        assert (pixel_difference(low, high) > 8) == matters


def test_a_lora(dev: Studio, tmp_path: Path) -> None:
    assert dev.spec.folder is not None
    file = build_tiny_lora(tmp_path / "lora.safetensors", dev.spec.folder, parts=["transformer"])
    uses = {"none": (), "with": (LoraUse(name="lora", weight=0.7),)}
    engine = dev.engine()
    for row_id, loras in uses.items():
        add_row(engine, row_id, params(loras=loras), dev.spec, loras={"lora": AuxiliaryModel(name="lora", path=file)})
    drawn = images(run(engine))
    studio = plain.open_studio(dev.spec.folder, FLUX)
    assert pixel_difference(drawn["none"], plain.draw(studio, TXT2IMG, params())) <= 1
    own: Any = studio.plain
    own.load_lora_weights(str(file), adapter_name="plain")
    own.set_adapters(["plain"], [0.7])
    assert pixel_difference(drawn["with"], plain.draw(studio, TXT2IMG, params())) <= 1
    assert pixel_difference(drawn["with"], drawn["none"]) > 8


def test_previews(dev: Studio) -> None:
    engine = dev.engine(preview_every=2)
    add_row(engine, "row", params(num_inference_steps=6, height=96), dev.spec)
    shown = {event.step: event.preview for event in progress(run(engine), "row") if event.preview}
    assert {step: preview.size for step, preview in shown.items()} == {2: (32, 48), 4: (32, 48)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"negative_prompt": "ugly"}, "takes no negative_prompt"),
        ({"clip_skip": 2}, "clip_skip must be 1 for FLUX, not 2"),
        ({"width": 72}, "width and height must be multiples of 16 px, not 72 x 64"),
        ({"prompt": "cats " * 103}, "the prompt has 516 tokens, and this model takes at most 512"),
        ({"sampler": "Euler a"}, "Euler a cannot draw with models of flow matching"),
    ],
)
def test_what_it_refuses(dev: Studio, changes: dict[str, Any], reason: str) -> None:
    engine = dev.engine()
    add_row(engine, "odd", params(**changes), dev.spec)
    add_row(engine, "even", params(), dev.spec)
    events = run(engine)
    assert images(events).keys() == {"even"}
    failure = failures(events)["odd"]
    assert isinstance(failure, DrawingFailed)
    assert reason in str(failure)


def test_schnell_pads_less_and_reads_as_much(schnell: Studio) -> None:
    engine = schnell.engine()
    add_row(engine, "long", params(prompt="cats " * 102), schnell.spec)
    add_row(engine, "too long", params(prompt="cats " * 103), schnell.spec)
    events = run(engine)
    assert images(events).keys() == {"long"}
    assert "this model takes at most 512" in str(failures(events)["too long"])


def test_a_transformer_for_other_tasks(dev: Studio, tmp_path: Path) -> None:
    """As that of FLUX.1 Fill, whose tokens hold mask and masked image too."""
    pipeline: Any = diffusers.FluxPipeline.from_pretrained(dev.spec.folder)
    pipeline.transformer = type(pipeline.transformer).from_config(pipeline.transformer.config, in_channels=96)
    pipeline.save_pretrained(tmp_path)
    with pytest.raises(ModelUnavailable, match="takes 96 channels, not 16; only dev and schnell are supported"):
        load_checkpoint(spec_of(tmp_path, family=FLUX), CPU)


def test_packing_is_that_of_the_plain_pipeline() -> None:
    latents = torch.randn(2, 4, 6, 10)
    ours, theirs = pack(latents), diffusers.FluxPipeline._pack_latents(latents, 2, 4, 6, 10)
    assert torch.equal(ours, theirs)
    assert torch.equal(unpack(ours, 3, 5), latents)
    assert torch.equal(positions(3, 5), diffusers.FluxPipeline._prepare_latent_image_ids(2, 3, 5, "cpu", torch.float32))
