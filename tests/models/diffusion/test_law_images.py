"""The law where an image is drawn over: img2img and inpaint, alone and in any company, equal the plain pipelines."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.diffusion.engine import Engine
from models.diffusion.events import Event, Progressed
from models.errors import DrawingFailed
from models.jobs.params import DrawParams, Mask
from tests.models.diffusion.driving import SAMPLED
from tests.models.diffusion.rig import Studio, add_row, failures, images, params, pixel_difference, poisoned, run

SIZE = (64, 64)
STARTABLE = [name for name, sampler in SAMPLED.items() if sampler.img2img_problem is None]


def photo() -> Image.Image:
    """Something with edges, slopes and colours."""
    y, x = np.mgrid[0:64, 0:64]
    image = Image.fromarray(np.stack([x * 4, y * 4, (x ^ y) * 4], axis=-1).astype(np.uint8))
    ImageDraw.Draw(image).ellipse((10, 20, 40, 50), fill="orange")
    return image


def mask() -> Image.Image:
    """Light in a box that is not at the grid of the latents."""
    image = Image.new("L", SIZE)
    ImageDraw.Draw(image).rectangle((13, 22, 45, 51), fill="white")
    return image


IMAGES = {"input:photo": photo(), "input:mask": mask()}
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


_PLAIN_IMAGES: dict[tuple[str, DrawParams], Image.Image] = {}


def draw_plain(studio: Studio, kind: str, wanted: DrawParams) -> Image.Image:
    """What diffusers itself draws, and, for inpaint, with the rest of the photo as it was; each drawn once."""
    if kind == TXT2IMG:
        return studio.draw_plain(wanted)
    if (kind, wanted) not in _PLAIN_IMAGES:
        _PLAIN_IMAGES[kind, wanted] = _call_plain(studio, kind, wanted)
    return _PLAIN_IMAGES[kind, wanted]


def _call_plain(studio: Studio, kind: str, wanted: DrawParams) -> Image.Image:
    pipeline = PLAIN[kind](
        **{**studio.plain.components, "scheduler": studio.scheduler(wanted), "safety_checker": None},
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    further = {} if wanted.mask is None else {"mask_image": mask(), "width": 64, "height": 64}
    image: Image.Image = pipeline(
        wanted.prompt, image=photo(), strength=wanted.strength, negative_prompt=wanted.negative_prompt or None,
        guidance_scale=wanted.guidance_scale, num_inference_steps=wanted.num_inference_steps,
        generator=torch.Generator().manual_seed(wanted.seed), **further,
    ).images[0]  # fmt: skip
    return image if wanted.mask is None else Image.composite(image, photo(), mask())


Rows = dict[str, tuple[str, DrawParams]]


def crowd(guidance_scales: tuple[float, ...]) -> Rows:
    """Every sampler in both tasks; neighbours differ in everything they may."""
    return {
        f"{kind} {sampler}": (
            kind,
            over(
                kind,
                sampler=sampler,
                guidance_scale=guidance_scales[number % len(guidance_scales)],
                prompt=("a cat", "a dog", "a red house")[number % 3],
                negative_prompt=("ugly", "")[number % 2],
                strength=(0.6, 0.8, 1.0)[number % 3],
                seed=number,
            ),
        )
        for number, sampler in enumerate(STARTABLE)
        for kind in (IMG2IMG, INPAINT)
    }


MIXED, GUIDED, UNGUIDED = (5.0, 1.0, 2.5), (5.0, 7.5), (1.0, 0.0)


def check(studio: Studio, rows: Rows, events: list[Event]) -> None:
    """Each of ``rows`` was drawn as its plain pipeline draws it."""
    drawn = images(events)
    assert drawn.keys() == rows.keys(), failures(events)
    off_by = {row_id: pixel_difference(draw_plain(studio, *row), drawn[row_id]) for row_id, row in rows.items()}
    assert {row_id: off for row_id, off in off_by.items() if off > 1} == {}


def enter(engine: Engine, studio: Studio, row_id: str, kind: str, wanted: DrawParams) -> None:
    add_row(engine, row_id, wanted, studio.spec, kind, IMAGES)


@pytest.mark.parametrize("guidance_scales", [GUIDED, UNGUIDED], ids=["guided", "unguided"])
def test_alone(tiny_sd: Studio, guidance_scales: tuple[float, ...]) -> None:
    for row_id, (kind, wanted) in crowd(guidance_scales).items():
        engine = tiny_sd.engine()
        enter(engine, tiny_sd, row_id, kind, wanted)
        check(tiny_sd, {row_id: (kind, wanted)}, run(engine))


@pytest.mark.parametrize(
    ("guidance_scales", "capacity"),
    [(GUIDED, 8), (UNGUIDED, 8), *((MIXED, capacity) for capacity in (2, 3, 5, 8))],
)
def test_in_a_batch(tiny_sd: Studio, guidance_scales: tuple[float, ...], capacity: int) -> None:
    rows, engine = crowd(guidance_scales), tiny_sd.engine(rows=capacity)
    for row_id, row in rows.items():
        enter(engine, tiny_sd, row_id, *row)
    check(tiny_sd, rows, run(engine))


def test_joining_late_beside_images_from_words(tiny_sd: Studio) -> None:
    rows, events = crowd(MIXED), []
    for number, sampler in enumerate(STARTABLE[::4]):
        rows[f"words {sampler}"] = (TXT2IMG, over(TXT2IMG, sampler=sampler, seed=number))
    engine = tiny_sd.engine(rows=len(rows))
    for row_id, row in rows.items():
        enter(engine, tiny_sd, row_id, *row)
        events += engine.step()
    check(tiny_sd, rows, events + run(engine))


def test_neighbours_cancelled(tiny_sd: Studio) -> None:
    rows, engine, events = crowd(MIXED), tiny_sd.engine(), []
    for number, (row_id, (kind, wanted)) in enumerate(rows.items()):
        enter(engine, tiny_sd, row_id, kind, wanted)
        if number % 3 == 0:
            leaver = over(kind, seed=number, num_inference_steps=9, strength=1.0)
            enter(engine, tiny_sd, f"leaver {row_id}", kind, leaver)
    while not engine.is_idle:
        for event in engine.step():
            if isinstance(event, Progressed) and event.row_id.startswith("leaver") and event.step == 3:
                engine.cancel_row(event.row_id)
            events.append(event)
    check(tiny_sd, rows, events)


def test_neighbours_failed(tiny_sd: Studio) -> None:
    rows, engine = crowd(MIXED), tiny_sd.engine(poisoned(tiny_sd, "poison"))
    for number, (row_id, (kind, wanted)) in enumerate(rows.items()):
        enter(engine, tiny_sd, row_id, kind, wanted)
        if number % 3 == 0:
            victim = over(kind, prompt="poison", guidance_scale=wanted.guidance_scale)
            enter(engine, tiny_sd, f"victim {row_id}", kind, victim)
    events = run(engine)
    check(tiny_sd, rows, events)
    assert len(failures(events)) == len(range(0, len(rows), 3))
    assert all(isinstance(failure, DrawingFailed) for failure in failures(events).values())


@pytest.mark.parametrize("strength", [0.2, 0.99, 1.0])
@pytest.mark.parametrize("kind", [IMG2IMG, INPAINT])
@pytest.mark.parametrize("sampler", ["Euler a", "DDIM", "Heun"])
def test_every_strength(tiny_sd: Studio, kind: str, strength: float, sampler: str) -> None:
    engine, wanted = tiny_sd.engine(), over(kind, sampler=sampler, strength=strength)
    enter(engine, tiny_sd, "row", kind, wanted)
    check(tiny_sd, {"row": (kind, wanted)}, run(engine))
