"""PixArt-Sigma: the law with many samplers, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog
from models.catalog.families import PIXART_SIGMA, TXT2IMG
from models.diffusion.checkpoint_loading import load_checkpoint
from models.errors import DrawingFailed, InvalidTicket, ModelUnavailable
from models.jobs.params import Control, DrawRequest, LoraUse, SecondPass
from models.jobs.tickets import complete
from models.language.budget import budget_of
from models.language.profiles import PROFILES, profile_of
from tests.models.diffusion import plain
from tests.models.diffusion.rig import CPU, Studio, add_row, failures, images, params, progress, run, spec_of
from tests.tiny import build_tiny_pixart

SAMPLERS = ("DPM++ 2M", "Euler a", "DDIM", "Heun", "DPM++ 2S a", "Euler SGM Uniform", "DPM++ 3M SDE Exponential")


@pytest.fixture(scope="module", params=[True, False], ids=["learnt variance", "fixed variance"])
def studio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("pixart") / "model"
    return plain.open_studio(build_tiny_pixart(folder, learns_variance=request.param), PIXART_SIGMA)


def crowd() -> plain.Rows:
    """Rows that differ in everything they may."""
    return {
        f"{number} {sampler}": (TXT2IMG, params(
            sampler=sampler, seed=number, guidance_scale=(5.0, 1.0, 0.0, 2.5)[number % 4],
            num_inference_steps=3 + number % 3, prompt=("a cat", "A red house, (very old:1.2)", "")[number % 3],
            negative_prompt=("ugly", "")[number % 2],
        ))
        for number, sampler in enumerate(SAMPLERS)
    }  # fmt: skip


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_alone(studio: Studio, sampler: str, guidance_scale: float) -> None:
    wanted = params(sampler=sampler, guidance_scale=guidance_scale, negative_prompt="ugly", num_inference_steps=4)
    plain.check(studio, {"row": (TXT2IMG, wanted)})


@pytest.mark.parametrize("late", [0, 1], ids=["together", "joining late"])
def test_in_mixed_company(studio: Studio, late: int) -> None:
    plain.check(studio, crowd(), late)


def test_other_sizes_at_once(studio: Studio) -> None:
    sizes = ((64, 64), (32, 64), (64, 48), (96, 64))
    plain.check(studio, {str(size): (TXT2IMG, params(width=size[0], height=size[1], seed=3)) for size in sizes})


def test_composed_prompts(studio: Studio) -> None:
    same = params(prompt="a cat :0.5 AND a cat :0.5 AND a dog :0")
    engine = studio.engine()
    for row_id, wanted in {"same": same, "plain": params()}.items():
        add_row(engine, row_id, wanted, studio.spec)
    drawn = images(run(engine))
    assert plain.pixel_difference(drawn["same"], plain.draw(studio, TXT2IMG, params())) <= 1


def test_previews(studio: Studio) -> None:
    engine = studio.engine(preview_every=1)
    add_row(engine, "row", params(), studio.spec)
    assert all(each.preview is not None for each in progress(run(engine), "row")[:-1])


def test_a_prompt_that_is_too_long(studio: Studio) -> None:
    engine = studio.engine()
    add_row(engine, "row", params(prompt="cat " * 400), studio.spec)
    failure = failures(run(engine))["row"]
    assert isinstance(failure, DrawingFailed) and "at most 300" in str(failure)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "img2img", "image": "input:" + "0" * 64}, "model"),
        ({"width": 72, "height": 64}, "width"),
        ({"clip_skip": 2}, "clip_skip"),
        ({"loras": (LoraUse(name="ink"),)}, "loras"),
        ({"controls": (Control(model="edges"),)}, "controls"),
        ({"second_pass": SecondPass()}, "second_pass"),
        ({"reuse_interval": 2}, "reuse_interval"),
    ],
)
def test_what_it_cannot_do_is_refused_at_submission(studio: Studio, changes: dict[str, Any], field: str) -> None:
    extras = {"loras": {"ink": AuxiliaryModel(name="ink", path=Path("ink.safetensors"))}}
    catalog = Catalog({"tiny": studio.spec}, default="tiny", extras=extras)
    with pytest.raises(InvalidTicket) as caught:
        complete(DrawRequest(prompt="a cat", **changes), catalog)
    assert field in {problem.field for problem in caught.value.problems}


def test_pixart_alpha_is_another_family(tmp_path: Path) -> None:
    folder = build_tiny_pixart(tmp_path / "alpha", sample_size=128)
    with pytest.raises(ModelUnavailable, match="PixArt-Alpha"):
        load_checkpoint(spec_of(folder, family=PIXART_SIGMA), CPU)


def test_a_repository_from_before_the_class_was_renamed(tmp_path: Path) -> None:
    folder = build_tiny_pixart(tmp_path / "old")
    for name in ("model_index.json", "transformer/config.json"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("PixArtTransformer2DModel", "Transformer2DModel"), encoding="utf-8")
    checkpoint = load_checkpoint(spec_of(folder, family=PIXART_SIGMA), CPU)
    assert type(checkpoint.pipeline.transformer).__name__ == "PixArtTransformer2DModel"


def test_prompts_are_rewritten_as_sentences(studio: Studio) -> None:
    assert profile_of(studio.spec) is PROFILES["sentence"]
    assert budget_of(studio.spec).limit > 200
