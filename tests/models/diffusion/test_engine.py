"""The life of rows: they are added, prepared, drawn, canceled; events, previews and timings."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.Image import Resampling

from models.catalog.catalog import ModelSpec
from models.catalog.families import IMG2IMG
from models.diffusion.canvas import Prepared, over_image
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.engine import Engine
from models.diffusion.events import Event, Finished, Loading
from models.diffusion.observation import EngineStep
from models.errors import ModelUnavailable
from tests.models.diffusion.rig import (
    Studio,
    WatchedDenoiser,
    add_row,
    images,
    params,
    pixel_difference,
    progress,
    run,
)
from tests.tiny import PX


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_sdxl"])
def test_one_forward_serves_all_rows_of_a_group(request: pytest.FixtureRequest, model: str) -> None:
    studio: Studio = request.getfixturevalue(model)
    denoiser = WatchedDenoiser(studio.checkpoint.denoiser)
    engine = studio.engine(denoiser)
    add_row(engine, "guided", params(num_inference_steps=3), studio.spec)
    add_row(engine, "unguided", params(guidance_scale=1.0, num_inference_steps=2), studio.spec)
    run(engine)
    assert denoiser.batches == [3, 3, 2]


def test_an_observer_is_told_about_each_forward(tiny_sd: Studio) -> None:
    steps: list[EngineStep] = []
    engine = tiny_sd.engine(observer=steps.append)
    add_row(engine, "guided", params(num_inference_steps=3), tiny_sd.spec)
    add_row(engine, "unguided", params(guidance_scale=1.0, num_inference_steps=2), tiny_sd.spec)
    assert engine.running == 0
    engine.step()
    assert (engine.running, engine.waiting) == (2, 0)
    run(engine)
    assert [(step.rows, step.inputs) for step in steps] == [(2, 3), (2, 3), (1, 2)]
    assert {(step.model, step.family) for step in steps} == {(tiny_sd.spec.name, tiny_sd.spec.family)}
    assert all(step.seconds > 0 for step in steps)
    assert engine.cache_counts.loads == 1


def test_a_row_joins_once(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine()
    add_row(engine, "row", params(), tiny_sd.spec)
    with pytest.raises(ValueError, match="there is a row 'row' already"):
        add_row(engine, "row", params(), tiny_sd.spec)
    engine.step()
    with pytest.raises(ValueError, match="there is a row 'row' already"):
        add_row(engine, "row", params(), tiny_sd.spec)


@pytest.mark.parametrize("options", [{"rows": -1}, {"preview_every": -1}])
def test_impossible_settings_are_refused(tiny_sd: Studio, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        tiny_sd.engine(**options)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M Karras", "LCM"])
def test_progress_counts_every_step(tiny_sd: Studio, sampler: str) -> None:
    engine = tiny_sd.engine()
    add_row(engine, "row", params(sampler=sampler, num_inference_steps=7), tiny_sd.spec)
    events = run(engine)
    assert [(event.step, event.steps) for event in progress(events, "row")] == [(step, 7) for step in range(1, 8)]
    assert isinstance(events[-1], Finished)


def test_a_cancelled_row_is_never_heard_of_again(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine()
    add_row(engine, "waiting", params(), tiny_sd.spec)
    engine.cancel_row("waiting")
    assert engine.is_idle
    add_row(engine, "running", params(), tiny_sd.spec)
    engine.step()
    engine.cancel_row("running")
    engine.cancel_row("unknown")
    assert (engine.is_idle, engine.step()) == (True, [])


def test_cancelling_while_the_tick_runs(tiny_sd: Studio) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser)
    engine = tiny_sd.engine(denoiser)
    rows = {"cancelled": params(), "other": params(seed=2, sampler="Euler a")}
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, tiny_sd.spec)
    engine.step()
    denoiser.before = lambda inputs: engine.cancel_row("cancelled")
    events = run(engine)
    assert {event.row_id for event in events} == {"other"}
    assert tiny_sd.off_by(rows["other"], images(events)["other"]) <= 1


def test_cancelling_while_being_admitted(tiny_sd: Studio) -> None:
    def load(spec: ModelSpec) -> Checkpoint:
        engine.cancel_row("row")
        return tiny_sd.checkpoint

    engine = Engine(load, capacity=Capacity(8))
    add_row(engine, "row", params(), tiny_sd.spec)
    assert not images(run(engine))


def test_the_same_id_may_come_again_after_it_left(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine()
    add_row(engine, "row", params(seed=5), tiny_sd.spec)
    engine.step()
    engine.cancel_row("row")
    add_row(engine, "row", params(seed=6), tiny_sd.spec)
    assert tiny_sd.off_by(params(seed=6), images(run(engine))["row"]) == 0


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_house"])
def test_previews_come_in_time_and_size(request: pytest.FixtureRequest, model: str) -> None:
    studio: Studio = request.getfixturevalue(model)
    engine = studio.engine(preview_every=2)
    add_row(engine, "row", params(num_inference_steps=6, height=96), studio.spec)
    shown = {event.step: event.preview for event in progress(run(engine), "row")}
    assert [step for step, preview in shown.items() if preview] == [2, 4]
    assert all(preview.size == (32, 48) and preview.mode == "RGB" for preview in shown.values() if preview)


def test_previews_can_be_off(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine(preview_every=0)
    add_row(engine, "row", params(num_inference_steps=6), tiny_sd.spec)
    assert not any(event.preview for event in progress(run(engine), "row"))


def test_a_preview_that_fails_harms_nobody(tiny_sd: Studio) -> None:
    def broken(latents: torch.Tensor) -> None:
        raise RuntimeError("no preview today")

    engine = tiny_sd.engine(preview_every=1)
    wanted = params()
    add_row(engine, "row", wanted, tiny_sd.spec)
    events = engine.step()
    engine._scheduler._running["row"].work.checkpoint.__dict__["_previewer"] = broken
    events += run(engine)
    assert tiny_sd.off_by(wanted, images(events)["row"]) == 0
    assert [event.preview is None for event in progress(events, "row")] == [False, True, True, True]


def test_large_images_are_drawn_at_the_models_own_area_and_enlarged(tiny_sd: Studio) -> None:
    spec = replace(tiny_sd.spec, native_px=96)
    engine = tiny_sd.engine()
    add_row(engine, "row", params(width=192, height=96), spec)
    image = images(run(engine))["row"]
    small = tiny_sd.draw_plain(params(width=128, height=64))
    assert spec.drawn_size(192, 96) == small.size
    assert pixel_difference(image, small.resize((192, 96), Resampling.LANCZOS)) == 0


def test_timings_add_up(tiny_sd: Studio) -> None:
    began_at = time.monotonic()
    engine = tiny_sd.engine()
    add_row(engine, "row", params(num_inference_steps=3), tiny_sd.spec)
    (drawn,) = [event for event in run(engine) if isinstance(event, Finished)]
    parts = (drawn.prepare_s, drawn.denoise_s, drawn.finish_s)
    assert all(part > 0 for part in parts)
    assert sum(parts) <= time.monotonic() - began_at


def test_a_row_whose_model_must_be_loaded_says_so_and_holds_up_nobody(tiny_sd: Studio) -> None:
    release = threading.Event()

    def load(spec: ModelSpec) -> Checkpoint:
        if spec.dtype == "bfloat16":
            assert release.wait(10)
        return replace(tiny_sd.checkpoint)

    engine = Engine(load, capacity=Capacity(8))
    engine.load(tiny_sd.spec)
    add_row(engine, "cold", params(model="cold"), replace(tiny_sd.spec, dtype="bfloat16"))
    add_row(engine, "warm", params(), tiny_sd.spec)
    events: list[Event] = []
    while "warm" in engine.row_ids:
        events += engine.step()
    assert [event for event in events if event.row_id == "cold"] == [Loading("cold", "model cold")]
    assert tiny_sd.off_by(params(), images(events)["warm"]) == 0
    release.set()
    assert images(run(engine)).keys() == {"cold"}


def test_what_becomes_of_a_row_that_left_does_not_reach_its_successor(tiny_sd: Studio) -> None:
    release = threading.Event()

    def load(spec: ModelSpec) -> Checkpoint:
        if spec.dtype == "bfloat16":
            assert release.wait(10)
            raise ModelUnavailable("gone")
        return replace(tiny_sd.checkpoint)

    engine = Engine(load, capacity=Capacity(8))
    engine.load(tiny_sd.spec)
    add_row(engine, "row", params(seed=5), replace(tiny_sd.spec, dtype="bfloat16"))
    engine.step()
    abandoned = engine._scheduler._running["row"].state.future
    engine.cancel_row("row")
    add_row(engine, "row", params(seed=6, num_inference_steps=30), tiny_sd.spec)
    events = engine.step()
    release.set()
    wait([abandoned])
    events += run(engine)
    assert tiny_sd.off_by(params(seed=6, num_inference_steps=30), images(events)["row"]) == 0
    assert [event.step for event in progress(events, "row")] == list(range(1, 31))


def test_long_work_on_an_input_image_holds_up_no_other_row(tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.diffusion.plans.LARGE_PX", 0)
    has_finished = threading.Event()

    def slow(*arguments: Any) -> Prepared:
        assert has_finished.wait(30), "the other row had to wait"
        return over_image(*arguments)

    monkeypatch.setattr("models.diffusion.plans.over_image", slow)
    engine, image = tiny_sd.engine(), Image.new("RGB", (PX, PX), "red")
    add_row(engine, "slow", params(image="x"), tiny_sd.spec, kind=IMG2IMG, images={"x": image})
    add_row(engine, "other", params(), tiny_sd.spec)
    finished: list[str] = []
    while not engine.is_idle:
        for event in engine.step():
            if isinstance(event, Finished):
                finished.append(event.row_id)
                has_finished.set()
    assert finished == ["other", "slow"]


def test_a_row_is_canceled_during_long_work_on_its_image(tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.diffusion.plans.LARGE_PX", 0)
    has_begun, may_end = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Prepared:
        has_begun.set()
        may_end.wait(30)
        return over_image(*arguments)

    monkeypatch.setattr("models.diffusion.plans.over_image", slow)
    engine, image = tiny_sd.engine(), Image.new("RGB", (PX, PX), "red")
    add_row(engine, "slow", params(image="x"), tiny_sd.spec, kind=IMG2IMG, images={"x": image})
    while not has_begun.is_set():
        engine.step()
    engine.cancel_row("slow")
    assert engine.is_idle and engine.step() == []
    may_end.set()
