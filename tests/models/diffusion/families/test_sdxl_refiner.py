"""SDXL's refiner: it draws the last steps of the base model's image, or over an image, as diffusers does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from models.catalog.catalog import Catalog
from models.catalog.families import IMG2IMG, INPAINT, SDXL, SDXL_REFINER, TXT2IMG
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.engine import Engine
from models.diffusion.latents import Sampling, continue_from
from models.diffusion.work import Task
from models.errors import DrawingFailed, ModelUnavailable
from models.jobs.params import DrawParams, Refiner
from tests.models.diffusion import plain
from tests.models.diffusion.rig import (
    CPU,
    Studio,
    add_row,
    failures,
    images,
    params,
    pixel_difference,
    prepare,
    progress,
    run,
    spec_of,
)
from tests.models.diffusion.test_law_images import over
from tests.tiny import build_tiny_refiner

SAMPLERS = ("Euler", "Euler a", "DPM++ 2M Karras", "DDIM", "Heun", "UniPC")


@pytest.fixture(scope="module")
def refiner(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return plain.open_studio(build_tiny_refiner(tmp_path_factory.mktemp("models") / "refiner"), SDXL_REFINER)


def test_latents_in_half_precision_continue_in_the_refiners_own(tiny_sdxl: Studio, refiner: Studio) -> None:
    first = prepare(tiny_sdxl, params())
    sampling = Sampling(sampler="Euler", num_inference_steps=10, guidance_scale=5.0, seed=0)
    latents = first.latents.half()
    continued = continue_from(refiner.checkpoint, sampling, first.size, first.conditioning, latents, 0.5)
    assert continued.latents.dtype == refiner.checkpoint.dtype == torch.float32
    assert torch.equal(continued.latents, latents.float())


def engine_of(base: Studio, refiner: Studio) -> Engine:
    """An engine with both."""
    checkpoints = {"tiny": base.checkpoint, "refiner": refiner.checkpoint}
    return Engine(lambda spec: checkpoints[spec.name])


def join_refined(engine: Engine, row_id: str, base: Studio, refiner: Studio, wanted: DrawParams) -> None:
    """Let a row join whose last steps the refiner draws."""
    catalog = Catalog({"tiny": base.spec, "refiner": replace(refiner.spec, name="refiner")})
    engine.add_row(row_id, Task(kind=TXT2IMG, params=wanted, catalog=catalog, images={}))


def refined(**changes: Any) -> DrawParams:
    """A request for a refined image."""
    return params(**({"num_inference_steps": 10, "refiner": Refiner(model="refiner")} | changes))


def draw_refined(base: Studio, refiner: Studio, wanted: DrawParams) -> Image.Image:
    """As diffusers' documentation has it: latents from the base, for the refiner to go on with."""
    assert wanted.refiner is not None
    base.plain.scheduler = base.scheduler(wanted)
    options = {
        "prompt": wanted.prompt, "negative_prompt": wanted.negative_prompt or None,
        "guidance_scale": wanted.guidance_scale, "num_inference_steps": wanted.num_inference_steps,
    }  # fmt: skip
    latents = base.plain(
        **options, width=wanted.width, height=wanted.height, denoising_end=wanted.refiner.start,
        output_type="latent", generator=torch.Generator().manual_seed(wanted.seed),
    ).images  # fmt: skip
    image: Image.Image = plain.pipeline(refiner, IMG2IMG, wanted)(
        **options, image=latents, denoising_start=wanted.refiner.start,
        generator=torch.Generator().manual_seed(wanted.seed),
    ).images[0]  # fmt: skip
    return image


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_last_steps(tiny_sdxl: Studio, refiner: Studio, sampler: str, guidance_scale: float) -> None:
    wanted = refined(sampler=sampler, guidance_scale=guidance_scale, negative_prompt="ugly")
    engine = engine_of(tiny_sdxl, refiner)
    join_refined(engine, "row", tiny_sdxl, refiner, wanted)
    image = images(run(engine))["row"]
    assert pixel_difference(draw_refined(tiny_sdxl, refiner, wanted), image) <= 1


def test_in_company(tiny_sdxl: Studio, refiner: Studio) -> None:
    """Rows with a refiner and without, that reach it at different steps."""
    rows = {
        str(number): refined(
            seed=number, sampler=sampler, refiner=None if number == 1 else Refiner(model="refiner", start=start),
            guidance_scale=(5.0, 1.0)[number % 2], width=64 if number else 96,
        )
        for number, (sampler, start) in enumerate(zip(SAMPLERS, (0.8, 0.8, 0.5, 0.2, 0.8, 0.7), strict=True))
    }  # fmt: skip
    engine, events = engine_of(tiny_sdxl, refiner), []
    for row_id, wanted in rows.items():
        join_refined(engine, row_id, tiny_sdxl, refiner, wanted)
        events += engine.step()
    drawn = images(events + run(engine))
    for row_id, wanted in rows.items():
        expected = tiny_sdxl.draw_plain(wanted) if wanted.refiner is None else draw_refined(tiny_sdxl, refiner, wanted)
        assert pixel_difference(expected, drawn[row_id]) <= 1, row_id


def test_the_refiner_shows(tiny_sdxl: Studio, refiner: Studio) -> None:
    wanted = refined()
    assert pixel_difference(draw_refined(tiny_sdxl, refiner, wanted), tiny_sdxl.draw_plain(wanted)) > 8


def test_progress_counts_the_steps_of_both(tiny_sdxl: Studio, refiner: Studio) -> None:
    engine = engine_of(tiny_sdxl, refiner)
    join_refined(engine, "row", tiny_sdxl, refiner, refined())
    assert [event.step for event in progress(run(engine), "row")] == list(range(1, 11))


@pytest.mark.parametrize("start", [0.01, 0.9999])
def test_both_must_have_a_step(tiny_sdxl: Studio, refiner: Studio, start: float) -> None:
    engine = engine_of(tiny_sdxl, refiner)
    join_refined(engine, "row", tiny_sdxl, refiner, refined(refiner=Refiner(model="refiner", start=start)))
    failure = failures(run(engine))["row"]
    assert isinstance(failure, DrawingFailed)
    assert "for one of the two models" in str(failure)


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("kind", [IMG2IMG, INPAINT])
def test_over_an_image(refiner: Studio, kind: str, guidance_scale: float) -> None:
    rows = {
        sampler: (kind, over(kind, sampler=sampler, guidance_scale=guidance_scale, seed=number, negative_prompt="ugly"))
        for number, sampler in enumerate(SAMPLERS)
    }
    plain.check(refiner, rows, late=1)


def test_it_draws_nothing_from_noise(refiner: Studio) -> None:
    engine = refiner.engine()
    add_row(engine, "row", params(), refiner.spec)
    assert "the family sdxl-refiner cannot do txt2img, only img2img, inpaint" in str(failures(run(engine))["row"])


def reason(folder: Path | None, family: str) -> str:
    """Why the model is unavailable."""
    with pytest.raises(ModelUnavailable) as caught:
        load_checkpoint(spec_of(folder, family=family), CPU)
    return str(caught.value)


def test_one_taken_for_the_other(tiny_sdxl: Studio, refiner: Studio) -> None:
    assert 'is it a refiner? then set family = "sdxl-refiner"' in reason(refiner.spec.folder, SDXL)
    assert 'is it a base model? then set family = "sdxl"' in reason(tiny_sdxl.spec.folder, SDXL_REFINER)
