"""Stable Diffusion 3 under the law, with T5 and without, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.families import IMG2IMG, INPAINT, SD3, TXT2IMG
from models.diffusion.events import Event
from models.errors import DrawingFailed
from models.jobs.params import LoraUse
from tests.models.diffusion import plain
from tests.models.diffusion.rig import Studio, add_row, failures, images, params, pixel_difference, progress, run
from tests.models.diffusion.test_law_images import IMAGES, over
from tests.tiny import build_tiny_lora, build_tiny_sd3

KINDS = (TXT2IMG, IMG2IMG, INPAINT)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return plain.open_studio(build_tiny_sd3(tmp_path_factory.mktemp("sd3") / "full"), SD3)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Without T5, and with steps that are shifted by the size."""
    folder = build_tiny_sd3(tmp_path_factory.mktemp("sd3") / "small", has_t5=False, dynamic_shift=True)
    return plain.open_studio(folder, SD3, text_encoder_3=None, tokenizer_3=None)


@pytest.fixture(params=["full", "small"])
def studio(request: pytest.FixtureRequest) -> Studio:
    found: Studio = request.getfixturevalue(request.param)
    return found


def crowd(count: int) -> plain.Rows:
    """Rows of all kinds that differ in everything they may."""
    return {
        f"{number} {kind}": (kind, over(
            kind, seed=number, guidance_scale=(5.0, 1.0, 0.0, 2.5)[number % 4], num_inference_steps=2 + number % 3,
            prompt=("a cat", "a red house (very old:1.2)", "")[number % 3],
            negative_prompt=("ugly", "")[number % 2],
        ))
        for number, kind in zip(range(count), KINDS * count, strict=False)
    }  # fmt: skip


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_alone(studio: Studio, kind: str, guidance_scale: float) -> None:
    wanted = over(kind, num_inference_steps=4, guidance_scale=guidance_scale, negative_prompt="ugly")
    plain.check(studio, {"row": (kind, wanted)})


@pytest.mark.parametrize("late", [0, 1], ids=["together", "joining late"])
def test_in_mixed_company(studio: Studio, late: int) -> None:
    plain.check(studio, crowd(7), late)


def test_composed_prompts(full: Studio) -> None:
    rows = crowd(3) | {
        "composed": (TXT2IMG, params(prompt="a cat AND a dog :0.6", guidance_scale=1.0)),
        "one part left": (TXT2IMG, params(prompt="a cat AND a dog :0")),
        "the same twice": (TXT2IMG, params(prompt="a cat :0.5 AND a cat :0.5", negative_prompt="ugly")),
    }
    drawn = [images(_events(full, each)) for each in (rows, {"composed": rows["composed"]})]
    assert pixel_difference(drawn[0]["composed"], drawn[1]["composed"]) <= 1
    plain_cat = plain.draw(full, TXT2IMG, params(prompt="a cat"))
    assert pixel_difference(drawn[0]["one part left"], plain_cat) <= 1
    assert pixel_difference(drawn[0]["the same twice"], plain.draw(full, TXT2IMG, params(negative_prompt="ugly"))) <= 1
    assert pixel_difference(drawn[0]["composed"], plain.draw(full, TXT2IMG, params(guidance_scale=1.0))) > 1


def _events(studio: Studio, rows: plain.Rows) -> list[Event]:
    engine = studio.engine(rows=16)
    for row_id, (kind, wanted) in rows.items():
        add_row(engine, row_id, wanted, studio.spec, kind, IMAGES)
    return run(engine)


@pytest.mark.parametrize("strength", [0.2, 0.35, 0.99, 1.0])
@pytest.mark.parametrize("kind", [IMG2IMG, INPAINT])
def test_every_strength(full: Studio, kind: str, strength: float) -> None:
    plain.check(full, {"row": (kind, over(kind, strength=strength, num_inference_steps=3))})


def test_a_prompt_of_more_than_256_tokens(full: Studio) -> None:
    engine = full.engine()
    add_row(engine, "long", params(prompt="dogs " * 102), full.spec)
    add_row(engine, "short", params(), full.spec)
    assert images(run(engine)).keys() == {"long", "short"}


def test_other_sizes_at_once(small: Studio) -> None:
    sizes = ((64, 64), (32, 64), (64, 48), (96, 64))
    plain.check(small, {str(size): (TXT2IMG, params(width=size[0], height=size[1], seed=3)) for size in sizes})


@pytest.mark.parametrize(("clip_skip", "theirs"), [(1, None), (2, None), (3, 1)])
def test_clip_skip_is_counted_as_for_sdxl(full: Studio, clip_skip: int, theirs: int | None) -> None:
    engine, wanted = full.engine(), params(clip_skip=clip_skip)
    add_row(engine, "row", wanted, full.spec)
    (image,) = plain.call(full, TXT2IMG, wanted, clip_skip=theirs)
    assert pixel_difference(images(run(engine))["row"], image) <= 1


def test_previews(full: Studio) -> None:
    engine = full.engine(preview_every=2)
    add_row(engine, "row", params(num_inference_steps=6, height=96), full.spec)
    shown = {event.step: event.preview for event in progress(run(engine), "row") if event.preview}
    assert {step: preview.size for step, preview in shown.items()} == {2: (32, 48), 4: (32, 48)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"clip_skip": 4}, "clip_skip must be from 1 to 3"),
        ({"height": 40}, "width and height must be multiples of 16 px, not 64 x 40"),
        ({"negative_prompt": "dogs " * 103}, "the prompt has 516 tokens, and this model takes at most 512"),
        ({"sampler": "DPM++ 2M Karras"}, "cannot draw with models of flow matching"),
    ],
)
def test_what_it_refuses(full: Studio, changes: dict[str, Any], reason: str) -> None:
    engine = full.engine()
    add_row(engine, "odd", params(**changes), full.spec)
    add_row(engine, "even", params(), full.spec)
    events = run(engine)
    assert images(events).keys() == {"even"}
    failure = failures(events)["odd"]
    assert isinstance(failure, DrawingFailed)
    assert reason in str(failure)


def test_without_t5_clip_is_the_one_that_reads(small: Studio) -> None:
    engine = small.engine()
    add_row(engine, "row", params(prompt="c" * 80), small.spec)
    assert "this model takes at most 77" in str(failures(run(engine))["row"])


def test_a_lora(full: Studio, tmp_path: Path) -> None:
    assert full.spec.folder is not None
    file = build_tiny_lora(tmp_path / "lora.safetensors", full.spec.folder, parts=["transformer"])
    engine = full.engine()
    loras = {"lora": AuxiliaryModel(name="lora", path=file)}
    add_row(engine, "with", params(loras=(LoraUse(name="lora", weight=0.7),)), full.spec, loras=loras)
    add_row(engine, "none", params(), full.spec, loras=loras)
    drawn = images(run(engine))
    own: Any = plain.open_studio(full.spec.folder, SD3)
    own.plain.load_lora_weights(str(file), adapter_name="plain")
    own.plain.set_adapters(["plain"], [0.7])
    assert pixel_difference(drawn["with"], plain.draw(own, TXT2IMG, params())) <= 1
    assert pixel_difference(drawn["none"], plain.draw(full, TXT2IMG, params())) <= 1
    assert pixel_difference(drawn["with"], drawn["none"]) > 8
