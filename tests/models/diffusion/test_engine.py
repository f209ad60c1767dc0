"""Rows joining, waiting, progressing, leaving; turns between groups."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL.Image import Resampling

from models.catalog.catalog import ModelSpec
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.engine import Engine
from models.diffusion.events import Drawn, Event, Loading
from models.errors import ModelUnavailable
from tests.models.diffusion.rig import (
    Studio,
    WatchedDenoiser,
    images,
    join,
    params,
    pixel_difference,
    progress,
    run,
)


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_sdxl"])
def test_one_forward_serves_all_rows_of_a_group(request: pytest.FixtureRequest, model: str) -> None:
    studio: Studio = request.getfixturevalue(model)
    denoiser = WatchedDenoiser(studio.checkpoint.denoiser)
    engine = studio.engine(denoiser)
    join(engine, "guided", params(num_inference_steps=3), studio.spec)
    join(engine, "unguided", params(guidance_scale=1.0, num_inference_steps=2), studio.spec)
    run(engine)
    assert denoiser.batches == [3, 3, 2]


def test_rows_wait_for_room(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine(rows=2)
    assert engine.is_idle
    for row_id in "abc":
        join(engine, row_id, params(num_inference_steps=2), tiny_sd.spec)
    assert (engine.waiting, engine.is_idle, engine.row_ids) == (3, False, ("a", "b", "c"))
    assert {event.row_id for event in engine.tick()} == {"a", "b"}
    assert {event.row_id for event in engine.tick()} == {"a", "b"}
    assert (engine.waiting, engine.row_ids) == (1, ("c",))
    assert images(run(engine)).keys() == {"c"}
    assert (engine.is_idle, engine.tick()) == (True, [])


def test_a_row_joins_once(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine()
    join(engine, "row", params(), tiny_sd.spec)
    with pytest.raises(ValueError, match="there is a row 'row' already"):
        join(engine, "row", params(), tiny_sd.spec)
    engine.tick()
    with pytest.raises(ValueError, match="there is a row 'row' already"):
        join(engine, "row", params(), tiny_sd.spec)


@pytest.mark.parametrize("options", [{"rows": -1}, {"preview_every": -1}])
def test_impossible_settings_are_refused(tiny_sd: Studio, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        tiny_sd.engine(**options)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M Karras", "LCM"])
def test_progress_counts_every_step(tiny_sd: Studio, sampler: str) -> None:
    engine = tiny_sd.engine()
    join(engine, "row", params(sampler=sampler, num_inference_steps=7), tiny_sd.spec)
    events = run(engine)
    assert [(event.step, event.steps) for event in progress(events, "row")] == [(step, 7) for step in range(1, 8)]
    assert isinstance(events[-1], Drawn)


def test_a_cancelled_row_is_never_heard_of_again(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine()
    join(engine, "waiting", params(), tiny_sd.spec)
    engine.leave("waiting")
    assert engine.is_idle
    join(engine, "running", params(), tiny_sd.spec)
    engine.tick()
    engine.leave("running")
    engine.leave("unknown")
    assert (engine.is_idle, engine.tick()) == (True, [])


def test_cancelling_while_the_tick_runs(tiny_sd: Studio) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    engine = tiny_sd.engine(denoiser)
    rows = {"cancelled": params(), "other": params(seed=2, sampler="Euler a")}
    for row_id, wanted in rows.items():
        join(engine, row_id, wanted, tiny_sd.spec)
    engine.tick()
    denoiser.before = lambda inputs: engine.leave("cancelled")
    events = run(engine)
    assert {event.row_id for event in events} == {"other"}
    assert tiny_sd.off_by(rows["other"], images(events)["other"]) <= 1


def test_cancelling_while_being_admitted(tiny_sd: Studio) -> None:
    def load(spec: ModelSpec) -> Checkpoint:
        engine.leave("row")
        return tiny_sd.checkpoint

    engine = Engine(load, capacity=Capacity(8))
    join(engine, "row", params(), tiny_sd.spec)
    assert not images(run(engine))


def test_the_same_id_may_come_again_after_it_left(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine()
    join(engine, "row", params(seed=5), tiny_sd.spec)
    engine.tick()
    engine.leave("row")
    join(engine, "row", params(seed=6), tiny_sd.spec)
    assert tiny_sd.off_by(params(seed=6), images(run(engine))["row"]) == 0


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_house"])
def test_previews_come_in_time_and_size(request: pytest.FixtureRequest, model: str) -> None:
    studio: Studio = request.getfixturevalue(model)
    engine = studio.engine(preview_every=2)
    join(engine, "row", params(num_inference_steps=6, height=96), studio.spec)
    shown = {event.step: event.preview for event in progress(run(engine), "row")}
    assert [step for step, preview in shown.items() if preview] == [2, 4]
    assert all(preview.size == (32, 48) and preview.mode == "RGB" for preview in shown.values() if preview)


def test_previews_can_be_off(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine(preview_every=0)
    join(engine, "row", params(num_inference_steps=6), tiny_sd.spec)
    assert not any(event.preview for event in progress(run(engine), "row"))


def test_a_preview_that_fails_harms_nobody(tiny_sd: Studio) -> None:
    def broken(latents: torch.Tensor) -> None:
        raise RuntimeError("no preview today")

    engine = tiny_sd.engine(preview_every=1)
    wanted = params()
    join(engine, "row", wanted, tiny_sd.spec)
    events = engine.tick()
    engine._rows["row"].work.checkpoint.__dict__["_previewer"] = broken
    events += run(engine)
    assert tiny_sd.off_by(wanted, images(events)["row"]) == 0
    assert [event.preview is None for event in progress(events, "row")] == [False, True, True, True]


def test_large_images_are_drawn_at_the_models_own_area_and_enlarged(tiny_sd: Studio) -> None:
    spec = replace(tiny_sd.spec, native_px=96)
    engine = tiny_sd.engine()
    join(engine, "row", params(width=192, height=96), spec)
    image = images(run(engine))["row"]
    small = tiny_sd.draw_plain(params(width=128, height=64))
    assert spec.drawn_size(192, 96) == small.size
    assert pixel_difference(image, small.resize((192, 96), Resampling.LANCZOS)) == 0


def test_timings_add_up(tiny_sd: Studio) -> None:
    began_at = time.monotonic()
    engine = tiny_sd.engine()
    join(engine, "row", params(num_inference_steps=3), tiny_sd.spec)
    (drawn,) = [event for event in run(engine) if isinstance(event, Drawn)]
    parts = (drawn.prepare_s, drawn.denoise_s, drawn.finish_s)
    assert all(part > 0 for part in parts)
    assert sum(parts) <= time.monotonic() - began_at


def slow_for_large(studio: Studio) -> WatchedDenoiser:
    """A denoiser that takes a fifth of a second for 96 x 96 images, and next to nothing for 32 x 32."""
    denoiser = WatchedDenoiser(studio.checkpoint.denoiser)

    def dawdle(output: torch.Tensor, conditioning: object) -> torch.Tensor:
        time.sleep(0.2 if output.shape[-1] >= 12 else 0.0)
        return output

    denoiser.after = dawdle
    return denoiser


def test_a_large_image_does_not_hold_up_small_ones(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine(slow_for_large(tiny_sd))
    join(engine, "large", params(width=96, height=96, num_inference_steps=12), tiny_sd.spec)
    engine.tick()
    join(engine, "small", params(width=32, height=32, num_inference_steps=10), tiny_sd.spec)
    events = run(engine)
    upto = next(number for number, event in enumerate(events) if isinstance(event, Drawn) and event.row_id == "small")
    assert len(progress(events[:upto], "large")) <= 5, "equal shares of the steps, not of the time"
    assert images(events).keys() == {"large", "small"}


def test_small_images_do_not_starve_a_large_one(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine(slow_for_large(tiny_sd), rows=3)
    join(engine, "large", params(width=96, height=96, num_inference_steps=3), tiny_sd.spec)
    for number in range(200):
        for row_id in {f"small {number}", f"small {number} too"}:
            join(engine, row_id, params(width=32, height=32, num_inference_steps=2, guidance_scale=1.0), tiny_sd.spec)
        if any(isinstance(event, Drawn) and event.row_id == "large" for event in engine.tick()):
            return
    raise AssertionError("the large image was never drawn")


def test_a_row_whose_model_must_be_loaded_says_so_and_holds_up_nobody(tiny_sd: Studio) -> None:
    release = threading.Event()

    def load(spec: ModelSpec) -> Checkpoint:
        if spec.dtype == "float64":
            assert release.wait(10)
        return replace(tiny_sd.checkpoint)

    engine = Engine(load, capacity=Capacity(8))
    engine.load(tiny_sd.spec)
    join(engine, "cold", params(model="cold"), replace(tiny_sd.spec, dtype="float64"))
    join(engine, "warm", params(), tiny_sd.spec)
    events: list[Event] = []
    while "warm" in engine.row_ids:
        events += engine.tick()
    assert [event for event in events if event.row_id == "cold"] == [Loading("cold", "model cold")]
    assert tiny_sd.off_by(params(), images(events)["warm"]) == 0
    release.set()
    assert images(run(engine)).keys() == {"cold"}


def test_a_higher_priority_gets_more_of_the_device(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine(slow_for_large(tiny_sd), rows=8)
    for row_id, height, priority in (("usual", 96, 0), ("urgent", 104, 1)):
        join(engine, row_id, params(width=96, height=height, num_inference_steps=20, priority=priority), tiny_sd.spec)
    events = [event for _ in range(20) for event in engine.tick()]
    assert len(progress(events, "urgent")) >= 3 * len(progress(events, "usual")) > 0


def test_what_becomes_of_a_row_that_left_does_not_reach_its_successor(tiny_sd: Studio) -> None:
    release = threading.Event()

    def load(spec: ModelSpec) -> Checkpoint:
        if spec.dtype == "float64":
            assert release.wait(10)
            raise ModelUnavailable("gone")
        return replace(tiny_sd.checkpoint)

    engine = Engine(load, capacity=Capacity(8))
    engine.load(tiny_sd.spec)
    join(engine, "row", params(seed=5), replace(tiny_sd.spec, dtype="float64"))
    engine.tick()
    engine.leave("row")
    join(engine, "row", params(seed=6, num_inference_steps=30), tiny_sd.spec)
    events = engine.tick()
    release.set()
    wait([future for future, _ in engine._pending])
    events += run(engine)
    assert tiny_sd.off_by(params(seed=6, num_inference_steps=30), images(events)["row"]) == 0
    assert [event.step for event in progress(events, "row")] == list(range(1, 31))
