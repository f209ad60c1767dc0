"""The law where a picture is drawn over: img2img and inpaint, alone and in any company, equal the plain pipelines."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from models.params import IMG2IMG, INPAINT, TXT2IMG, DrawParams, Mask
from models.samplers import SAMPLERS
from tests.models.diffusion.rig import Studio, join, params, pictures, pixel_difference, run

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have ta:UserWarning"),  # torchsde, of rounding
]

SIZE = (64, 64)
STARTABLE = [name for name, sampler in SAMPLERS.items() if sampler.img2img_problem is None]
SOURCES = {"input:photo": "photo", "input:mask": "mask"}


def photo() -> Image.Image:
    """Something with edges, slopes and colours."""
    y, x = np.mgrid[0:64, 0:64]
    picture = Image.fromarray(np.stack([x * 4, y * 4, (x ^ y) * 4], axis=-1).astype(np.uint8))
    ImageDraw.Draw(picture).ellipse((10, 20, 40, 50), fill="orange")
    return picture


def mask() -> Image.Image:
    """Light in a box that is not at the grid of the latents."""
    picture = Image.new("L", SIZE)
    ImageDraw.Draw(picture).rectangle((13, 22, 45, 51), fill="white")
    return picture


PICTURES = {"input:photo": photo(), "input:mask": mask()}
PLAIN = {
    IMG2IMG: diffusers.StableDiffusionImg2ImgPipeline,
    INPAINT: diffusers.StableDiffusionInpaintPipeline,
}


def over(kind: str, **changes: Any) -> DrawParams:
    """A request of that kind."""
    further: dict[str, Any] = {
        TXT2IMG: {},
        IMG2IMG: {"image": "input:photo", "strength": 0.6},
        INPAINT: {"image": "input:photo", "strength": 0.8, "mask": Mask(image="input:mask", blur_px=0)},
    }[kind]
    return params(**({"num_inference_steps": 5} | further | changes))


def draw_plain(studio: Studio, kind: str, wanted: DrawParams) -> Image.Image:
    """What diffusers itself draws, and, for inpaint, with the rest of the photo as it was."""
    if kind == TXT2IMG:
        return studio.draw_plain(wanted)
    pipeline = PLAIN[kind](
        **{**studio.plain.components, "scheduler": studio.scheduler(wanted), "safety_checker": None},
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    further = {} if wanted.mask is None else {"mask_image": mask(), "width": 64, "height": 64}
    picture: Image.Image = pipeline(
        wanted.prompt, image=photo(), strength=wanted.strength, negative_prompt=wanted.negative_prompt or None,
        guidance_scale=wanted.guidance_scale, num_inference_steps=wanted.num_inference_steps,
        generator=torch.Generator().manual_seed(wanted.seed), **further,
    ).images[0]  # fmt: skip
    return picture if wanted.mask is None else Image.composite(picture, photo(), mask())


def check(studio: Studio, rows: dict[str, tuple[str, DrawParams]], late: int = 0) -> None:
    """Draw all rows together, those after the first ``late`` steps later; hold each against its plain pipeline."""
    engine = studio.engine(rows=16)
    events = []
    for row_id, (kind, wanted) in rows.items():
        join(engine, row_id, wanted, studio.spec, kind, PICTURES)
        events += [event for _ in range(late) for event in engine.tick()]
    drawn = pictures([*events, *run(engine)])
    worst = {
        row_id: pixel_difference(draw_plain(studio, kind, wanted), drawn[row_id])
        for row_id, (kind, wanted) in rows.items()
    }
    assert {row_id: difference for row_id, difference in worst.items() if difference > 1} == {}


@pytest.mark.parametrize("kind", [IMG2IMG, INPAINT])
@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("sampler", STARTABLE)
def test_alone(tiny_sd: Studio, sampler: str, guidance_scale: float, kind: str) -> None:
    check(tiny_sd, {"row": (kind, over(kind, sampler=sampler, guidance_scale=guidance_scale))})


@pytest.mark.parametrize("late", [0, 1], ids=["together", "joining late"])
@pytest.mark.parametrize("part", range(4))
def test_in_mixed_company(tiny_sd: Studio, part: int, late: int) -> None:
    """Every sampler in every task, guided and not, eight or more in each batch."""
    rows = {}
    for number, sampler in enumerate(STARTABLE[part::4]):
        kind = (IMG2IMG, INPAINT, TXT2IMG)[number % 3]
        wanted = over(kind, sampler=sampler, guidance_scale=(5.0, 1.0, 2.5)[number % 3 - part % 2], seed=number)
        rows[f"{number} {kind} {sampler}"] = (kind, wanted)
    check(tiny_sd, rows, late)


@pytest.mark.parametrize("strength", [0.2, 0.99, 1.0])
@pytest.mark.parametrize("kind", [IMG2IMG, INPAINT])
@pytest.mark.parametrize("sampler", ["Euler a", "DDIM", "Heun"])
def test_every_strength(tiny_sd: Studio, kind: str, strength: float, sampler: str) -> None:
    check(tiny_sd, {"row": (kind, over(kind, sampler=sampler, strength=strength))})


@pytest.mark.parametrize("kind", [IMG2IMG, INPAINT])
def test_a_neighbour_that_leaves_changes_nothing(tiny_sd: Studio, kind: str) -> None:
    engine = tiny_sd.engine()
    for number in range(3):
        wanted = over(kind, seed=number, sampler="DPM++ 2M SDE Karras")
        join(engine, str(number), wanted, tiny_sd.spec, kind, PICTURES)
    engine.tick()
    engine.leave("1")
    drawn = pictures(run(engine))
    for number in (0, 2):
        wanted = over(kind, seed=number, sampler="DPM++ 2M SDE Karras")
        assert pixel_difference(draw_plain(tiny_sd, kind, wanted), drawn[str(number)]) <= 1
