"""Snapshots: another engine goes on at the same step, and draws the image that the first one would have drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from models.catalog.catalog import Catalog
from models.catalog.families import FLUX, IMG2IMG, INPAINT, PIXART_SIGMA, SD3, SDXL, SDXL_REFINER, TXT2IMG
from models.diffusion import snapshots
from models.diffusion.engine import Engine
from models.diffusion.events import Event, Progressed
from models.diffusion.work import Task
from models.errors import JobFailure
from models.jobs.params import UPSCALE, DrawParams, Mask, Refiner, SecondPass, UpscaleParams
from tests.models.diffusion.driving import SAMPLED
from tests.models.diffusion.plain import open_studio
from tests.models.diffusion.rig import Studio, add_row, failures, images, params, pixel_difference, progress, run
from tests.models.diffusion.test_law_images import IMAGES
from tests.tiny import build_tiny_flux, build_tiny_pixart, build_tiny_refiner, build_tiny_sd3, build_tiny_sdxl

FAMILIES: Mapping[str, Callable[[Path], Path]] = {
    SDXL: build_tiny_sdxl,
    SD3: build_tiny_sd3,
    FLUX: lambda folder: build_tiny_flux(folder, guidance_embeds=True),
    PIXART_SIGMA: build_tiny_pixart,
}
OVER: Mapping[str, tuple[str, DrawParams]] = {
    "img2img": (IMG2IMG, params(image="input:photo", strength=0.7, num_inference_steps=6, sampler="DPM++ 2M")),
    "inpaint": (
        INPAINT,
        params(
            image="input:photo",
            mask=Mask(image="input:mask", blur_px=2),
            sampler="Euler a",
            strength=0.9,
            num_inference_steps=6,
        ),
    ),
    "second pass": (
        TXT2IMG,
        params(second_pass=SecondPass(scale=1.5, strength=0.6, upscaler="Lanczos"), sampler="Euler a"),
    ),
    "reused features": (TXT2IMG, params(reuse_interval=3, num_inference_steps=8)),
}


Join = Callable[[Engine, bytes | None], None]
"""Adds the row ``row`` to an engine, which goes on from a snapshot."""


def draw_saved(engine: Engine, join: Join) -> tuple[Image.Image, dict[int, bytes]]:
    """The image, and the snapshots by the number of steps that were taken."""
    join(engine, None)
    assert engine.save_row("row") is None, "nothing is drawn yet"
    saved: dict[int, bytes] = {}
    events: list[Event] = []
    while not engine.is_idle:
        events += engine.step()
        snapshot = engine.save_row("row")
        if snapshot is not None:
            saved[progress(events, "row")[-1].step] = snapshot
    assert failures(events) == {}
    return images(events)["row"], saved


def check_every_step(open_engine: Callable[[], Engine], join: Join) -> Image.Image:
    """The image; a new engine draws it to the bit from the snapshot after any step, and does no step again."""
    whole, saved = draw_saved(open_engine(), join)
    assert len(saved) >= 3
    for step, snapshot in saved.items():
        engine = open_engine()
        join(engine, snapshot)
        events = run(engine)
        assert pixel_difference(images(events)["row"], whole) == 0, f"after step {step}"
        later = [event.step for event in progress(events, "row")]
        assert later == list(range(step + 1, step + 1 + len(later)))
    return whole


def joining(studio: Studio, wanted: DrawParams, kind: str = TXT2IMG) -> Join:
    """Joins a row that draws ``wanted``."""
    return lambda engine, snapshot: add_row(engine, "row", wanted, studio.spec, kind, IMAGES, snapshot)


def draw(studio: Studio, wanted: DrawParams) -> tuple[Image.Image, dict[int, bytes]]:
    return draw_saved(studio.engine(), joining(studio, wanted))


def draw_on(studio: Studio, wanted: DrawParams, snapshot: bytes) -> tuple[Image.Image, list[Progressed]]:
    """The image that a new engine draws from ``snapshot``, and its progress."""
    engine = studio.engine()
    joining(studio, wanted)(engine, snapshot)
    events = run(engine)
    assert failures(events) == {}
    return images(events)["row"], progress(events, "row")


@pytest.mark.parametrize("sampler", SAMPLED)
def test_every_sampler(tiny_sd: Studio, sampler: str) -> None:
    wanted = params(sampler=sampler, num_inference_steps=5)  # the solvers look back at no more than 4 steps
    assert tiny_sd.off_by(wanted, check_every_step(tiny_sd.engine, joining(tiny_sd, wanted))) == 0


@pytest.mark.parametrize("name", OVER)
def test_every_kind_of_drawing(tiny_sd: Studio, name: str) -> None:
    kind, wanted = OVER[name]
    check_every_step(tiny_sd.engine, joining(tiny_sd, wanted, kind))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(tmp_path: Path, family: str) -> None:
    studio = open_studio(FAMILIES[family](tmp_path / "model"), family)
    check_every_step(studio.engine, joining(studio, params(num_inference_steps=5, sampler="Euler")))


def test_a_refined_image(tiny_sdxl: Studio, tmp_path: Path) -> None:
    refiner = open_studio(build_tiny_refiner(tmp_path / "refiner"), SDXL_REFINER)
    checkpoints = {"tiny": tiny_sdxl.checkpoint, "refiner": refiner.checkpoint}
    catalog = Catalog({"tiny": tiny_sdxl.spec, "refiner": replace(refiner.spec, name="refiner")})
    wanted = params(num_inference_steps=10, refiner=Refiner(model="refiner"), sampler="Euler a")
    task = Task(kind=TXT2IMG, params=wanted, catalog=catalog, images={})
    check_every_step(
        lambda: Engine(lambda spec: checkpoints[spec.name]),
        lambda engine, snapshot: engine.add_row("row", task, snapshot=snapshot),
    )


def test_rows_go_on_in_new_company(tiny_sd: Studio) -> None:
    rows = {
        sampler: params(sampler=sampler, num_inference_steps=4 + number % 3, seed=number)
        for number, sampler in enumerate(list(SAMPLED)[::3])
    }
    engine = tiny_sd.engine()
    for number, (row_id, wanted) in enumerate(rows.items()):
        saved = None if number % 3 == 0 else list(draw(tiny_sd, wanted)[1].values())[number % 3]
        add_row(engine, row_id, wanted, tiny_sd.spec, snapshot=saved)
    drawn = images(run(engine))
    assert drawn.keys() == rows.keys()
    assert max(tiny_sd.off_by(wanted, drawn[row_id]) for row_id, wanted in rows.items()) <= 1


def test_a_row_that_goes_on_can_be_saved_again(tiny_sd: Studio) -> None:
    wanted = params(sampler="DPM++ 2M SDE", num_inference_steps=6)
    whole, saved = draw(tiny_sd, wanted)
    engine = tiny_sd.engine()
    add_row(engine, "row", wanted, tiny_sd.spec, snapshot=saved[2])
    assert engine.save_row("row") is None, "it has nothing that its snapshot has not"
    engine.step()
    again = engine.save_row("row")
    assert again is not None
    image, later = draw_on(tiny_sd, wanted, again)
    assert pixel_difference(image, whole) == 0
    assert later[0].step == 4


@pytest.mark.parametrize(
    "changes",
    [{"width": 128}, {"sampler": "DDIM"}, {"num_inference_steps": 5}],
    ids=lambda changes: next(iter(changes)),
)
def test_the_snapshot_of_another_drawing_is_not_used(tiny_sd: Studio, changes: dict[str, Any]) -> None:
    _, saved = draw(tiny_sd, params(**changes))
    image, later = draw_on(tiny_sd, params(), saved[2])
    assert tiny_sd.off_by(params(), image) == 0
    assert later[0].step == 1


@pytest.mark.parametrize("cut", [0, 100, -1])
def test_a_damaged_snapshot_is_not_used(tiny_sd: Studio, cut: int, caplog: pytest.LogCaptureFixture) -> None:
    _, saved = draw(tiny_sd, params())
    image, later = draw_on(tiny_sd, params(), saved[2][:cut])
    assert tiny_sd.off_by(params(), image) == 0
    assert later[0].step == 1
    assert "cannot be read" in caplog.text


def test_a_snapshot_runs_no_code(tiny_sd: Studio, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (tmp_path.joinpath("touched").touch, ())

    file = tmp_path / "evil"
    torch.save({"format": 1, "outcomes": [Evil()], "work": None}, file)
    image, _ = draw_on(tiny_sd, params(), file.read_bytes())
    assert tiny_sd.off_by(params(), image) == 0
    assert not (tmp_path / "touched").exists()


def test_a_snapshot_has_the_row_alone(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine()
    for number in range(8):
        add_row(engine, str(number), params(seed=number), tiny_sd.spec)
    engine.step()
    engine.step()
    beside, alone = engine.save_row("0"), draw(tiny_sd, params(seed=0))[1][2]
    assert beside is not None
    assert len(beside) <= len(alone) + 1024


def test_what_is_too_large_is_not_saved(tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MAX_BYTES", 1000)
    image, saved = draw(tiny_sd, params())
    assert saved == {}
    assert tiny_sd.off_by(params(), image) == 0


def test_work_that_is_not_resumable_begins_again(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine()
    wanted = UpscaleParams(image="input:photo", scale=2.0, upscaler="Lanczos")
    engine.add_row("row", Task(kind=UPSCALE, params=wanted, catalog=Catalog({"tiny": tiny_sd.spec}), images=IMAGES))
    events: list[Event] = []
    while not engine.is_idle:
        events += engine.step()
        assert engine.save_row("row") is None
    assert images(events)["row"].size == (128, 128)


def test_rows_that_are_not_there_have_no_snapshot(tiny_sd: Studio) -> None:
    assert tiny_sd.engine().save_row("row") is None


def test_a_failure_after_going_on_is_the_rows_alone(tiny_sd: Studio) -> None:
    """The outcome in a snapshot is taken as it is; what is wrong with it fails the row, not the engine."""
    saved = snapshots.save([torch.zeros(3)], None)
    assert saved is not None
    engine = tiny_sd.engine()
    wanted = params(second_pass=SecondPass(scale=1.5, strength=0.6, upscaler="Lanczos"))
    add_row(engine, "bad", wanted, tiny_sd.spec, snapshot=saved)
    add_row(engine, "good", params(), tiny_sd.spec)
    events = run(engine)
    assert isinstance(failures(events)["bad"], JobFailure)
    assert tiny_sd.off_by(params(), images(events)["good"]) <= 1
