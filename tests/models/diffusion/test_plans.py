"""Whole jobs through the engine, with each kind of auxiliary model, in one batch, compared with plain diffusers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from diffusers import (
    ControlNetModel,
    DiffusionPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
)
from PIL import Image
from safetensors.torch import save_file

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog
from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.diffusion import forwards
from models.diffusion.events import Failed, Progressed
from models.diffusion.work import Task
from models.errors import DrawingFailed, InputUnavailable, ModelUnavailable
from models.jobs.params import UPSCALE, Control, DrawParams, LoraUse, Mask, SecondPass, UpscaleParams
from tests.models.diffusion.rig import (
    PLAIN_OPTIONS,
    Studio,
    add_row,
    failures,
    images,
    params,
    pixel_difference,
    prepare,
    run,
)
from tests.models.diffusion.test_law_images import IMAGES, photo
from tests.tiny import build_tiny_controlnet, build_tiny_lora

pytestmark = [
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),  # in the plain pipeline
]


@pytest.fixture(scope="module")
def extras(tiny_sd: Studio, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, AuxiliaryModel]]:
    """The auxiliary models of the tiny model."""
    folder, own = tmp_path_factory.mktemp("extras"), tiny_sd.spec.folder
    assert own is not None
    loras = {name: build_tiny_lora(folder / f"{name}.safetensors", own, seed=seed) for seed, name in enumerate("ab")}
    controlnets = {name: build_tiny_controlnet(folder / name, own, seed=seed) for seed, name in enumerate(["lines"])}
    save_file({"emb_params": torch.randn(2, 32)}, folder / "sunny.safetensors")
    return {
        "loras": {name: AuxiliaryModel(name=name, path=path) for name, path in loras.items()},
        "controlnets": {name: AuxiliaryModel(name=name, path=path) for name, path in controlnets.items()},
        "embeddings": {"sunny": AuxiliaryModel(name="sunny", path=folder / "sunny.safetensors")},
    }


def options(wanted: DrawParams) -> dict[str, Any]:
    """How the plain pipeline is called for the same."""
    return {
        "prompt": wanted.prompt, "guidance_scale": wanted.guidance_scale, "generator": seeded(wanted.seed),
        "num_inference_steps": wanted.num_inference_steps,
    }  # fmt: skip


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def own_pipeline(studio: Studio) -> Any:
    """A plain pipeline that the test may change."""
    pipeline = DiffusionPipeline.from_pretrained(studio.spec.folder, **PLAIN_OPTIONS[studio.spec.family])
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(studio: Studio, rows: dict[str, tuple[str, DrawParams]], extras: Any) -> dict[str, Image.Image]:
    """All rows in one engine."""
    engine = studio.engine()
    for row_id, (kind, wanted) in rows.items():
        add_row(engine, row_id, wanted, studio.spec, kind, IMAGES, **extras)
    events = run(engine)
    assert failures(events) == {}
    return images(events)


def test_rows_with_different_loras_are_never_mixed_up(tiny_sd: Studio, extras: Any) -> None:
    uses = {"none": (), "a": (("a", 0.8),), "b": (("b", 1.0),), "both": (("a", 0.5), ("b", -0.4)), "none too": ()}
    rows = {
        name: params(seed=seed, loras=tuple(LoraUse(name=lora, weight=weight) for lora, weight in used))
        for seed, (name, used) in enumerate(uses.items())
    }
    drawn = draw(tiny_sd, {name: (TXT2IMG, wanted) for name, wanted in rows.items()}, extras)
    for name, wanted in rows.items():
        plain = own_pipeline(tiny_sd)
        plain.scheduler = tiny_sd.scheduler(wanted)
        for lora in wanted.loras:
            plain.load_lora_weights(str(extras["loras"][lora.name].path), adapter_name=lora.name)
        if wanted.loras:
            plain.set_adapters([lora.name for lora in wanted.loras], [lora.weight for lora in wanted.loras])
        image = plain(width=64, height=64, **options(wanted)).images[0]
        assert pixel_difference(image, drawn[name]) <= 1, name
    assert pixel_difference(drawn["a"], tiny_sd.draw_plain(params(seed=1))) > 1, "the LoRA shows"


def test_rows_with_and_without_controlnets(tiny_sd: Studio, extras: Any) -> None:
    lines = Control(model="lines", image="input:photo", weight=0.7, end=0.6)
    rows = {
        "plain": params(seed=1),
        "guided": params(seed=2, controls=(lines,)),
        "unguided": params(seed=3, guidance_scale=1.0, controls=(lines,)),
    }
    drawn = draw(tiny_sd, {name: (TXT2IMG, wanted) for name, wanted in rows.items()}, extras)
    assert tiny_sd.off_by(rows["plain"], drawn["plain"]) <= 1
    controlnet = ControlNetModel.from_pretrained(extras["controlnets"]["lines"].path)
    for name in ("guided", "unguided"):
        wanted = rows[name]
        plain = StableDiffusionControlNetPipeline(
            **{**tiny_sd.plain.components, "scheduler": tiny_sd.scheduler(wanted), "safety_checker": None},
            controlnet=controlnet, requires_safety_checker=False,
        )  # fmt: skip
        plain.set_progress_bar_config(disable=True)
        image = plain(
            image=photo(), controlnet_conditioning_scale=0.7, control_guidance_end=0.6, **options(wanted)
        ).images[0]
        assert pixel_difference(image, drawn[name]) <= 1, name


def test_capacity_is_told_what_each_step_has_to_do(tiny_sd: Studio, extras: Any) -> None:
    lines = Control(model="lines", image="input:photo", end=0.5)
    for wanted, expected in (
        (params(num_inference_steps=6, reuse_interval=3), "fssfss"),
        (params(num_inference_steps=6, controls=(lines,)), "fffsss"),
        (params(num_inference_steps=6), "ffffff"),
    ):
        engine = tiny_sd.engine(rows=None)
        with patch.object(engine.capacity, "record", wraps=engine.capacity.record) as note:
            for row_id in "ab":
                add_row(engine, row_id, wanted, tiny_sd.spec, images=IMAGES, **extras)
            assert failures(run(engine)) == {}
        forwards = [call.args[0] for call in note.call_args_list]
        assert {forward.rows for forward in forwards} == {2}
        assert "".join("f" if forward == forwards[0] else "s" for forward in forwards) == expected


def test_a_second_pass_enlarges_and_draws_over(tiny_sd: Studio, extras: Any) -> None:
    second = SecondPass(scale=1.5, strength=0.5, num_inference_steps=6)
    wanted = params(second_pass=second, sampler="Euler a")
    drawn = draw(tiny_sd, {"twice": (TXT2IMG, wanted), "once": (TXT2IMG, params())}, extras)
    first = tiny_sd.draw_plain(params(sampler="Euler a")).resize((96, 96), Image.Resampling.LANCZOS)
    plain = StableDiffusionImg2ImgPipeline(
        **{**tiny_sd.plain.components, "scheduler": tiny_sd.scheduler(wanted), "safety_checker": None},
        requires_safety_checker=False,
    )
    plain.set_progress_bar_config(disable=True)
    image = plain(image=first, strength=0.5, **options(wanted) | {"num_inference_steps": 6}).images[0]
    assert drawn["twice"].size == (96, 96)
    assert pixel_difference(image, drawn["twice"]) <= 2, "twice through eight bits"


def test_progress_goes_on_through_a_second_pass(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine()
    add_row(engine, "row", params(second_pass=SecondPass(strength=0.5)), tiny_sd.spec)
    steps = [event.step for event in run(engine) if isinstance(event, Progressed)]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) == 4 + 1 + 2, "four steps, the enlargement, half of four"


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DPM2 a", "DPM++ SDE", "DPM++ 2S a", "Restart", "DPM fast"])
def test_the_share_of_steps_never_falls(tiny_sd: Studio, sampler: str) -> None:
    engine = tiny_sd.engine()
    twice = params(sampler=sampler, second_pass=SecondPass(strength=0.5, num_inference_steps=8))
    add_row(engine, "row", twice, tiny_sd.spec)
    shares = [event.step / event.steps for event in run(engine) if isinstance(event, Progressed)]
    assert shares == sorted(shares) and shares[-1] == 1 and shares[3] < 0.7


@pytest.mark.parametrize(("sampler", "first_pass"), [("Euler", 4), ("Heun", 7)])
def test_a_weak_second_pass_counts_as_one_step(tiny_sd: Studio, sampler: str, first_pass: int) -> None:
    engine = tiny_sd.engine()
    add_row(engine, "row", params(sampler=sampler, second_pass=SecondPass(strength=0.01)), tiny_sd.spec)
    totals = [event.steps for event in run(engine) if isinstance(event, Progressed)]
    assert totals[:first_pass] == [first_pass + 1] * first_pass


@pytest.mark.parametrize("changes", [{"style_preset": "anime"}, {"prompt": "a (cat:1.4)"}, {"prompt": "a sunny cat"},
                                     {"clip_skip": 2}])  # fmt: skip
def test_what_changes_the_words_changes_the_image(tiny_sd: Studio, extras: Any, changes: dict[str, Any]) -> None:
    plain = {"prompt": "a bright cat"} if "sunny" in changes.get("prompt", "") else {}
    rows = {"changed": (TXT2IMG, params(**changes)), "plain": (TXT2IMG, params(**plain))}
    drawn = draw(tiny_sd, rows, extras)
    assert tiny_sd.off_by(params(**plain), drawn["plain"]) <= 1
    assert pixel_difference(drawn["plain"], drawn["changed"]) > 1


def test_a_finished_image_is_enlarged_beside_drawing(tiny_sd: Studio) -> None:
    engine = tiny_sd.engine()
    add_row(engine, "drawn", params(), tiny_sd.spec)
    task = Task(
        kind=UPSCALE,
        params=UpscaleParams(image="input:photo", scale=4, upscaler="Nearest"),
        catalog=Catalog({}),
        images=IMAGES,
    )
    engine.add_row("enlarged", task)
    drawn = images(run(engine))
    assert tiny_sd.off_by(params(), drawn["drawn"]) == 0
    assert pixel_difference(drawn["enlarged"], photo().resize((256, 256), Image.Resampling.NEAREST)) == 0


@pytest.mark.parametrize(
    ("wanted", "kind", "reason"),
    [
        (params(loras=(LoraUse(name="gone"),)), TXT2IMG, "'gone' is no longer in the catalog"),
        (params(controls=(Control(model="lines"),)), TXT2IMG, "'lines' needs an image"),
        (
            params(image="input:photo", mask=Mask(image="input:mask", only_masked=True, blur_px=200)),
            INPAINT,
            "the mask is empty",
        ),
    ],
)
def test_what_cannot_be_done_fails_its_row_alone(
    tiny_sd: Studio, extras: Any, wanted: DrawParams, kind: str, reason: str
) -> None:
    engine = tiny_sd.engine()
    add_row(engine, "good", params(), tiny_sd.spec)
    add_row(engine, "bad", wanted, tiny_sd.spec, kind, IMAGES, **extras)
    events = run(engine)
    assert tiny_sd.off_by(params(), images(events)["good"]) <= 1
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert isinstance(failed.failure, InputUnavailable | DrawingFailed | ModelUnavailable)
    assert reason in str(failed.failure)


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M Karras", "Heun", "UniPC", "DDIM", "LMS", "LCM"])
@pytest.mark.parametrize("kind", [IMG2IMG, INPAINT])
def test_a_strength_of_less_than_a_step_draws_the_last_step(tiny_sd: Studio, kind: str, sampler: str) -> None:
    mask = Mask(image="input:mask") if kind == INPAINT else None
    wanted = params(image="input:photo", mask=mask, sampler=sampler, num_inference_steps=5)
    rows = {str(strength): (kind, replace(wanted, strength=strength)) for strength in (0.0, 0.1, 0.2)}
    drawn = draw(tiny_sd, rows, {})
    assert pixel_difference(drawn["0.0"], drawn["0.2"]) == pixel_difference(drawn["0.1"], drawn["0.2"]) == 0


def test_weights_that_are_damaged_are_named(tiny_sd: Studio, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    extra = {"loras": {"bad": AuxiliaryModel(name="bad", path=tmp_path / "bad.safetensors")}}
    engine = tiny_sd.engine()
    add_row(engine, "bad", params(loras=(LoraUse(name="bad"),)), tiny_sd.spec, **extra)
    failure = failures(run(engine))["bad"]
    assert isinstance(failure, ModelUnavailable)
    assert "LoRA 'bad'" in str(failure)


def test_a_row_keeps_its_own_features_alone_alive(tiny_sd: Studio) -> None:
    rows = [prepare(tiny_sd, params(reuse_interval=2, seed=seed)) for seed in range(3)]
    with torch.inference_mode():
        forwards.predict(rows)
    for row in rows:
        assert row.deep is not None and row.deep.untyped_storage().nbytes() == row.deep.nbytes


@pytest.mark.parametrize("sampler", ["Euler", "Heun"])
def test_reused_features_stay_in_their_row(tiny_sd: Studio, sampler: str) -> None:
    """Each image is the one it is alone, whatever intervals its neighbours have; the others are the plain ones."""
    rows = {
        f"{interval} {seed}": params(sampler=sampler, num_inference_steps=7, seed=seed, reuse_interval=interval)
        for seed, interval in enumerate((1, 2, 3, 2, 1, 5))
    }
    drawn = draw(tiny_sd, {name: (TXT2IMG, wanted) for name, wanted in rows.items()}, {})
    for name, wanted in rows.items():
        alone = draw(tiny_sd, {"alone": (TXT2IMG, wanted)}, {})["alone"]
        assert pixel_difference(alone, drawn[name]) <= 1, name
        exact = tiny_sd.draw_plain(replace(wanted, reuse_interval=1))
        assert (pixel_difference(exact, drawn[name]) <= 1) == (wanted.reuse_interval == 1), name
