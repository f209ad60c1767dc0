"""What fails in one row fails that row only, with a reason, and frees its memory."""

from __future__ import annotations

import copy
import gc
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from models.catalog.catalog import ModelSpec
from models.diffusion import decoding, plans
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.engine import Engine
from models.diffusion.failures import attempt
from models.diffusion.load_requests import weights_of
from models.errors import DeviceLost, DrawingFailed, InternalFailure, JobFailure, ModelUnavailable, OutOfMemory
from models.jobs.params import DrawParams
from tests.models.diffusion.rig import (
    Studio,
    WatchedDenoiser,
    add_row,
    failures,
    images,
    params,
    pixel_difference,
    poisoned,
    run,
)

GOOD = params(sampler="DDIM")


def draw_beside(engine: Engine, studio: Studio, bad: DrawParams) -> Exception:
    """Draw a good row beside a bad one; the good one's image is checked, the bad one's failure given."""
    add_row(engine, "good", GOOD, studio.spec)
    add_row(engine, "bad", bad, studio.spec)
    events = run(engine)
    assert studio.off_by(GOOD, images(events)["good"]) <= 1
    assert images(events).keys() == {"good"}
    return failures(events)["bad"]


def refuse_more_than(limit: int) -> Callable[[int], None]:
    def refuse(inputs: int) -> None:
        if inputs > limit:
            raise torch.OutOfMemoryError(f"{inputs} inputs do not fit")

    return refuse


@pytest.mark.parametrize("limit", [2, 3, 4, 6])
def test_a_batch_that_does_not_fit_is_drawn_in_parts(tiny_sd: Studio, limit: int) -> None:
    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser, before=refuse_more_than(limit))
    engine = tiny_sd.engine(denoiser)
    rows = {str(seed): params(seed=seed, sampler="Euler a", num_inference_steps=3) for seed in range(5)}
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, tiny_sd.spec)
    drawn = images(run(engine))
    assert all(tiny_sd.off_by(wanted, drawn[row_id]) <= 1 for row_id, wanted in rows.items())
    assert max(denoiser.batches) == 10


def test_a_row_that_does_not_fit_even_alone_fails_alone(tiny_sd: Studio) -> None:
    unguided = params(guidance_scale=1.0)
    engine = tiny_sd.engine(WatchedDenoiser(tiny_sd.checkpoint.denoiser, before=refuse_more_than(1)))
    for row_id, wanted in {"small": unguided, "large": params(), "small too": replace(unguided, seed=2)}.items():
        add_row(engine, row_id, wanted, tiny_sd.spec)
    events = run(engine)
    assert images(events).keys() == {"small", "small too"}
    assert isinstance(failures(events)["large"], OutOfMemory)
    assert tiny_sd.off_by(unguided, images(events)["small"]) <= 1


def test_latents_that_are_no_numbers(tiny_sd: Studio) -> None:
    failure = draw_beside(tiny_sd.engine(poisoned(tiny_sd, "poison")), tiny_sd, params(prompt="poison"))
    assert isinstance(failure, DrawingFailed)
    assert "not finite" in str(failure)


def test_a_denoiser_that_breaks_for_one_row(tiny_sd: Studio) -> None:
    def breaks(inputs: int) -> None:
        if inputs != 2:
            raise RuntimeError("broken")

    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser, before=breaks)
    failure = draw_beside(tiny_sd.engine(denoiser), tiny_sd, params(guidance_scale=1.0))
    assert isinstance(failure, InternalFailure)
    assert "broken" not in str(failure) and failure.detail == "RuntimeError: broken"


def test_a_scheduler_that_refuses_the_number_of_steps(tiny_sd: Studio) -> None:
    failure = draw_beside(tiny_sd.engine(), tiny_sd, params(sampler="LCM", num_inference_steps=120))
    assert isinstance(failure, DrawingFailed)
    assert "120" in str(failure.detail)


def test_an_unknown_sampler(tiny_sd: Studio) -> None:
    failure = draw_beside(tiny_sd.engine(), tiny_sd, params(sampler="Nobody's"))
    assert str(failure) == 'there is no sampler "Nobody\'s"'


def test_a_scheduler_that_fails_in_its_step(tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_sd.engine()
    add_row(engine, "good", GOOD, tiny_sd.spec)
    add_row(engine, "bad", params(seed=2), tiny_sd.spec)
    events = engine.step()
    monkeypatch.setattr(engine._scheduler._running["bad"].work.scheduler, "_step_index", 1000)
    events += run(engine)
    assert isinstance(failures(events)["bad"], InternalFailure)
    assert tiny_sd.off_by(GOOD, images(events)["good"]) <= 1


def test_a_prediction_type_that_a_sampler_does_not_know(tiny_sd: Studio) -> None:
    own = tiny_sd.checkpoint.pipeline.scheduler
    tiny_sd.plain.scheduler = type(own).from_config(own.config, prediction_type="sample")
    engine = Engine(lambda spec: replace(tiny_sd.checkpoint, pipeline=tiny_sd.plain))
    add_row(engine, "refused", params(sampler="Euler a"), tiny_sd.spec)
    add_row(engine, "drawn", params(sampler="DDIM"), tiny_sd.spec)
    events = run(engine)
    assert images(events).keys() == {"drawn"}
    assert "prediction_type" in str(failures(events)["refused"].detail)


def test_a_decoder_that_gives_no_numbers_for_one_row(tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_sd.engine()
    add_row(engine, "good", GOOD, tiny_sd.spec)
    add_row(engine, "bad", params(sampler="DDIM", seed=2), tiny_sd.spec)
    events = engine.step()
    work = engine._scheduler._running["bad"].work
    real = work.move_to

    def move_to(latents: torch.Tensor) -> None:
        real(latents)
        if work.step == work.steps:
            work.latents = torch.full_like(work.latents, torch.inf)

    monkeypatch.setattr(work, "move_to", move_to)
    events += run(engine)
    assert isinstance(failures(events)["bad"], DrawingFailed)
    assert tiny_sd.off_by(GOOD, images(events)["good"]) <= 1


def test_decoding_that_does_not_fit_is_done_one_by_one(tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    vae, sizes = tiny_sd.checkpoint.pipeline.vae, []
    real = vae.decode

    def decode(latents: torch.Tensor, **options: object) -> object:
        sizes.append(len(latents))
        refuse_more_than(1)(len(latents))
        return real(latents, **options)

    monkeypatch.setattr(vae, "decode", decode)
    engine = tiny_sd.engine(preview_every=0)
    rows = {str(seed): params(seed=seed) for seed in range(3)}
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, tiny_sd.spec)
    drawn = images(run(engine))
    assert sizes == [3, 1, 1, 1]
    assert all(tiny_sd.off_by(wanted, drawn[row_id]) <= 1 for row_id, wanted in rows.items())


def test_a_forward_that_does_not_fit_is_tried_again_once_unused_models_are_dropped(tiny_sd: Studio) -> None:
    idle = replace(tiny_sd.spec, dtype="float16")

    def refuse_beside_another_model(inputs: int) -> None:
        if len(engine.loaded) > 1:
            raise torch.OutOfMemoryError("full")

    denoiser = WatchedDenoiser(tiny_sd.checkpoint.denoiser, before=refuse_beside_another_model)
    engine = tiny_sd.engine(denoiser)
    engine.load(idle)
    rows = {str(seed): params(seed=seed) for seed in range(3)}
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, tiny_sd.spec)
    drawn = images(run(engine))
    assert all(tiny_sd.off_by(wanted, drawn[row_id]) <= 1 for row_id, wanted in rows.items())
    assert set(denoiser.batches) == {6}, "no batch was made smaller"
    assert engine.loaded == (weights_of(tiny_sd.spec),)


def test_images_are_decoded_several_together_within_a_bound(tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = watch_decoding(tiny_sd, monkeypatch)
    monkeypatch.setattr(decoding, "DECODED_MAX_BYTES", 2 * 3 * 64 * 64 * 4)
    engine = tiny_sd.engine(preview_every=0)
    rows = {str(seed): params(seed=seed) for seed in range(5)}
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, tiny_sd.spec)
    drawn = images(run(engine))
    assert sizes == [2, 2, 1]
    assert all(tiny_sd.off_by(wanted, drawn[row_id]) <= 1 for row_id, wanted in rows.items())


def watch_decoding(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that the VAE decodes."""
    vae, sizes = studio.checkpoint.pipeline.vae, []
    real = vae.decode

    def decode(latents: torch.Tensor, **options: object) -> object:
        sizes.append(len(latents))
        return real(latents, **options)

    monkeypatch.setattr(vae, "decode", decode)
    return sizes


def test_an_image_that_cannot_be_decoded_at_once_is_decoded_in_tiles(
    tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_whole_images(latents: torch.Tensor, *others: object) -> torch.Tensor:
        if latents.shape[-1] > 4:
            raise torch.OutOfMemoryError("full")
        return real(latents, *others)

    vae = tiny_sd.checkpoint.pipeline.vae
    real = vae.decoder.forward
    for each in (vae, tiny_sd.plain.vae):
        monkeypatch.setattr(each, "tile_latent_min_size", 4)
        monkeypatch.setattr(each, "tile_sample_min_size", 4 * tiny_sd.plain.vae_scale_factor)
    monkeypatch.setattr(vae.decoder, "forward", refuse_whole_images)
    engine = tiny_sd.engine(preview_every=0)
    add_row(engine, "row", GOOD, tiny_sd.spec)
    drawn = images(run(engine))["row"]
    monkeypatch.setattr(tiny_sd.plain.vae, "use_tiling", True)
    assert pixel_difference(tiny_sd.call_plain(GOOD)[0], drawn) <= 1
    assert not vae.use_tiling


def test_an_image_whose_decoding_overflows_in_half_precision_is_decoded_in_float32(
    tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tiny_sd.checkpoint
    half = replace(checkpoint, pipeline=copy.copy(checkpoint.pipeline))
    half.pipeline.vae = copy.deepcopy(checkpoint.pipeline.vae).to(torch.float16)
    real = type(half.pipeline.vae).decode

    def decode(vae: Any, latents: torch.Tensor, **options: Any) -> Any:
        decoded = real(vae, latents, **options)
        return (decoded[0] * torch.inf,) if latents.dtype == torch.float16 else decoded

    monkeypatch.setattr(type(half.pipeline.vae), "decode", decode)
    engine = Engine(lambda spec: half, preview_every=0)
    add_row(engine, "row", GOOD, tiny_sd.spec)
    drawn = images(run(engine))["row"]
    monkeypatch.undo()
    assert tiny_sd.off_by(GOOD, drawn) <= 3, "the VAE's weights were rounded to float16"


LOST = "CUDA error: an illegal memory access was encountered"


@pytest.mark.parametrize(
    "message",
    [
        LOST,
        "CUDA error: device-side assert triggered",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: unspecified launch failure",
        "CUDA error: misaligned address",
        "CUDA error: an illegal instruction was encountered",
        "CUDA error: the launch timed out and was terminated",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "CUDA error: unknown error",
        "CUDA error: operation not supported on global/shared address space",
    ],
)
def test_an_error_that_persists_is_the_loss_of_the_device(message: str) -> None:
    def fails() -> None:
        try:
            raise RuntimeError(message)
        except RuntimeError as error:
            raise ModelUnavailable("the model cannot be loaded") from error

    with pytest.raises(DeviceLost, match="the model cannot be loaded"):
        attempt(fails)


def lose_device(*_: object, **__: object) -> None:
    raise RuntimeError(LOST)


@pytest.mark.parametrize("place", ["encode", "forward", "decode"])
def test_the_loss_of_the_device_leaves_the_engine(tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    pipeline = tiny_sd.checkpoint.pipeline
    target = {"encode": pipeline.text_encoder, "forward": pipeline.unet, "decode": pipeline.vae.decoder}[place]
    engine = tiny_sd.engine(preview_every=0)
    monkeypatch.setattr(target, "forward", lose_device)
    add_row(engine, "row", GOOD, tiny_sd.spec)
    with pytest.raises(DeviceLost, match="illegal memory access"):
        run(engine)


def test_the_loss_of_the_device_during_a_load_leaves_the_engine(tiny_sd: Studio) -> None:
    engine = Engine(lose_device)  # type: ignore[arg-type]
    add_row(engine, "row", GOOD, tiny_sd.spec)
    with pytest.raises(DeviceLost, match="illegal memory access"):
        run(engine)


def test_a_model_that_cannot_be_loaded_fails_its_rows_only(tiny_sd: Studio) -> None:
    def load(spec: ModelSpec) -> Checkpoint:
        if spec.name == "gone":
            raise ModelUnavailable("it is gone")
        return tiny_sd.checkpoint

    engine = Engine(load, capacity=Capacity(8))
    add_row(engine, "bad", params(model="gone"), replace(tiny_sd.spec, name="gone", dtype="float32"))
    add_row(engine, "good", GOOD, tiny_sd.spec)
    events = run(engine)
    assert str(failures(events)["bad"]) == "it is gone"
    assert tiny_sd.off_by(GOOD, images(events)["good"]) == 0


def test_idle_checkpoints_make_room_for_another(tiny_sd: Studio) -> None:
    loaded: list[str] = []

    def load(spec: ModelSpec) -> Checkpoint:
        loaded.append(spec.dtype)
        if spec.dtype == "bfloat16" and loaded.count("bfloat16") == 1:
            raise torch.OutOfMemoryError("full")
        return replace(tiny_sd.checkpoint)

    engine = Engine(load, capacity=Capacity(8))
    specs = {dtype: replace(tiny_sd.spec, dtype=dtype) for dtype in ("float32", "float16", "bfloat16")}
    add_row(engine, "idle", GOOD, specs["float16"])
    run(engine)
    add_row(engine, "busy", GOOD, specs["float32"])
    add_row(engine, "new", params(sampler="DDIM", seed=3), specs["bfloat16"])
    assert images(run(engine)).keys() == {"busy", "new"}
    for dtype, spec in specs.items():
        add_row(engine, dtype, GOOD, spec)
    run(engine)
    assert loaded == ["float16", "float32", "bfloat16", "bfloat16", "float16"]


def test_without_idle_checkpoints_the_row_fails(tiny_sd: Studio) -> None:
    attempts: list[str] = []

    def load(spec: ModelSpec) -> Checkpoint:
        attempts.append(spec.name)
        raise torch.OutOfMemoryError("full")

    engine = Engine(load, capacity=Capacity(8))
    add_row(engine, "row", GOOD, tiny_sd.spec)
    assert isinstance(failures(run(engine))["row"], OutOfMemory)
    assert len(attempts) == 1


def test_a_row_that_never_fits_is_prepared_once_more_and_fails(
    tiny_sd: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: Counter[tuple[int, int]] = Counter()
    prepare = plans.prepare_latents

    def prepare_small(checkpoint: Checkpoint, sampling: Any, size: tuple[int, int], *rest: Any, **more: Any) -> Any:
        prepared[size] += 1
        if size == (96, 96):
            raise torch.OutOfMemoryError("full")
        return prepare(checkpoint, sampling, size, *rest, **more)

    monkeypatch.setattr(plans, "prepare_latents", prepare_small)
    engine = tiny_sd.engine()
    add_row(engine, "large", replace(GOOD, width=96, height=96), tiny_sd.spec)
    add_row(engine, "small", GOOD, tiny_sd.spec)
    events = run(engine)
    assert isinstance(failures(events)["large"], OutOfMemory)
    assert prepared[96, 96] == 2
    assert set(images(events)) == {"small"}


def test_a_failure_keeps_no_tensor_alive() -> None:
    kept: list[weakref.ref[torch.Tensor]] = []

    def fails() -> None:
        large = torch.zeros(10)
        kept.append(weakref.ref(large))
        try:
            raise torch.OutOfMemoryError("full")
        except torch.OutOfMemoryError as error:
            raise OutOfMemory("no room") from error

    failure = attempt(fails)
    gc.collect()
    assert isinstance(failure, OutOfMemory)
    assert (failure.__traceback__, failure.__cause__, failure.__context__) == (None, None, None)
    assert kept[0]() is None


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory, "does not fit into the device's memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), OutOfMemory, "does not fit"),
        (MemoryError(), OutOfMemory, "does not fit"),
        (RuntimeError("CUDA error: out of memory"), OutOfMemory, "does not fit"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), OutOfMemory, "not fit"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), OutOfMemory, "does not fit"),
        (RuntimeError("CUDA error: invalid configuration argument"), InternalFailure, "failed unexpectedly"),
        (ValueError("secret too few\nsteps"), DrawingFailed, "cannot draw with these settings"),
        (NotImplementedError("secret"), DrawingFailed, "cannot draw with these settings"),
        (RuntimeError("secret shapes"), InternalFailure, "failed unexpectedly; the worker's log has details"),
        (OSError(2, "no", "/secret"), InternalFailure, "failed unexpectedly"),
        (KeyError(), InternalFailure, "failed unexpectedly"),
    ],
)
def test_every_error_has_its_kind(error: Exception, kind: type[JobFailure], message: str) -> None:
    def fails() -> None:
        raise error

    failure = attempt(fails)
    assert isinstance(failure, kind)
    assert message in str(failure)
    assert "secret" not in str(failure) and "\n" not in str(failure)
    detail = None if kind is OutOfMemory else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    assert failure.detail == (detail if str(error) or detail is None else "KeyError: KeyError")
