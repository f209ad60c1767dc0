"""The law: a row's picture does not depend on the rows beside it, and alone it is the plain pipeline's."""

from __future__ import annotations

import pytest
import torch

from models.diffusion.batching import predict
from models.diffusion.engine import Engine
from models.diffusion.row import Row, admit
from models.errors import DrawingFailed
from models.params import Txt2ImgParams
from models.samplers import SAMPLERS
from tests.models.diffusion.rig import CPU, Studio, failures, params, pictures, poisoned, run, spec_of
from tests.tiny import build_tiny_sd

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GUIDANCE = {
    "guided": (5.0, (2.5, 7.5, 12.0)),
    "unguided": (1.0, (1.0, 0.0)),
    "guided among mixed": (5.0, (1.0, 7.5)),
    "unguided among mixed": (1.0, (7.5, 1.0)),
}
"""The guidance scale of the row that is looked at, and those of the others in turn."""

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)
every_guidance = pytest.mark.parametrize("guidance", GUIDANCE)


def company(sampler: str, guidance: str, size: int = 8) -> dict[str, Txt2ImgParams]:
    """The row that is looked at, and others that differ from it, and from one another, in everything they may."""
    own, others = GUIDANCE[guidance]
    rows = {"subject": params(sampler=sampler, guidance_scale=own, num_inference_steps=5, negative_prompt="ugly")}
    for number in range(size - 1):
        rows[f"other {number}"] = params(
            sampler=list(SAMPLERS)[number % len(SAMPLERS)],
            guidance_scale=others[number % len(others)],
            num_inference_steps=3 + number % 4,
            prompt=("a dog", "a red house", "")[number % 3],
            negative_prompt=("", "blurry")[number % 2],
            seed=100 + number,
        )
    return rows


def draw_together(studio: Studio, rows: dict[str, Txt2ImgParams]) -> None:
    """Draw all of them at once and hold each against the plain pipeline."""
    engine = studio.engine()
    for row_id, wanted in rows.items():
        engine.join(row_id, wanted, studio.spec)
    drawn = pictures(run(engine))
    assert {row_id: studio.off_by(wanted, drawn[row_id]) > 1 for row_id, wanted in rows.items()} == dict.fromkeys(
        rows, False
    )


def latents_alone(row: Row) -> torch.Tensor:
    """Take all steps of a row, with nothing around it."""
    with torch.inference_mode():
        while not row.is_done:
            (output,) = predict([row])
            assert isinstance(output, torch.Tensor)
            row.advance(row.guide(output))
    return row.latents


def check_alone(studio: Studio, wanted: Txt2ImgParams) -> None:
    """Picture and latents are the plain pipeline's to the bit."""
    engine = studio.engine()
    engine.join("row", wanted, studio.spec)
    assert studio.off_by(wanted, pictures(run(engine))["row"]) == 0
    row = admit("row", wanted, studio.spec, studio.checkpoint)
    assert torch.equal(latents_alone(row), studio.call_plain(wanted, output_type="latent"))


@every_sampler
@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("model", ["tiny_sd", "tiny_house", "tiny_distilled"])
def test_alone_it_is_the_plain_pipelines_picture_to_the_bit(
    request: pytest.FixtureRequest, model: str, sampler: str, guidance_scale: float
) -> None:
    studio: Studio = request.getfixturevalue(model)
    wanted = params(sampler=sampler, guidance_scale=guidance_scale, negative_prompt="ugly", num_inference_steps=6)
    check_alone(studio, wanted)


@every_sampler
@every_guidance
@pytest.mark.parametrize("size", range(2, 9))
def test_in_a_batch(tiny_sd: Studio, sampler: str, guidance: str, size: int) -> None:
    draw_together(tiny_sd, company(sampler, guidance, size))


@every_sampler
@pytest.mark.parametrize("model", ["tiny_house", "tiny_distilled"])
def test_in_a_batch_of_another_kind_of_model(request: pytest.FixtureRequest, model: str, sampler: str) -> None:
    draw_together(request.getfixturevalue(model), company(sampler, "guided among mixed"))


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_house"])
def test_over_many_steps(request: pytest.FixtureRequest, model: str) -> None:
    steps = zip(SAMPLERS, range(20, 32, 2), strict=True)
    rows = {name: params(sampler=name, num_inference_steps=count, guidance_scale=7.5) for name, count in steps}
    draw_together(request.getfixturevalue(model), rows)


@every_sampler
@every_guidance
def test_joining_late(tiny_sd: Studio, sampler: str, guidance: str) -> None:
    rows = company(sampler, guidance)
    engine, events = tiny_sd.engine(), []
    for row_id in sorted(rows):  # the others first, one more at each tick
        engine.join(row_id, rows[row_id], tiny_sd.spec)
        events += engine.tick()
    drawn = pictures(events + run(engine))
    assert all(tiny_sd.off_by(wanted, drawn[row_id]) <= 1 for row_id, wanted in rows.items())


@every_sampler
@every_guidance
def test_others_joining_later(tiny_sd: Studio, sampler: str, guidance: str) -> None:
    rows = company(sampler, guidance)
    engine, events = tiny_sd.engine(), []
    for row_id, wanted in rows.items():
        engine.join(row_id, wanted, tiny_sd.spec)
        events += engine.tick()
    assert tiny_sd.off_by(rows["subject"], pictures(events + run(engine))["subject"]) <= 1


@every_sampler
@every_guidance
def test_a_neighbour_cancelled(tiny_sd: Studio, sampler: str, guidance: str) -> None:
    rows = company(sampler, guidance, size=5)
    engine = tiny_sd.engine()
    for row_id, wanted in rows.items():
        engine.join(row_id, wanted, tiny_sd.spec)
    events = engine.tick() + engine.tick()
    engine.leave("other 1")
    drawn = pictures(events + run(engine))
    del rows["other 1"]
    assert drawn.keys() == rows.keys()
    assert all(tiny_sd.off_by(wanted, drawn[row_id]) <= 1 for row_id, wanted in rows.items())


@every_sampler
@every_guidance
def test_a_neighbour_failed(tiny_sd: Studio, sampler: str, guidance: str) -> None:
    rows = company(sampler, guidance, size=5)
    engine = tiny_sd.engine(poisoned(tiny_sd, "poison"))
    for row_id, wanted in rows.items():
        engine.join(row_id, wanted, tiny_sd.spec)
    events = engine.tick()
    engine.join("victim", params(prompt="poison", guidance_scale=rows["other 1"].guidance_scale), tiny_sd.spec)
    events += run(engine)
    drawn = pictures(events)
    assert isinstance(failures(events)["victim"], DrawingFailed)
    assert all(tiny_sd.off_by(wanted, drawn[row_id]) <= 1 for row_id, wanted in rows.items())


@every_sampler
def test_other_sizes_at_once(tiny_sd: Studio, sampler: str) -> None:
    sizes = ((64, 64), (32, 64), (64, 32), (96, 64))
    draw_together(tiny_sd, {str(size): params(sampler=sampler, width=size[0], height=size[1]) for size in sizes})


def test_two_checkpoints_at_once(tiny_sd: Studio, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Studio.open(build_tiny_sd(tmp_path_factory.mktemp("models") / "other", seed=7))
    studios = {"tiny": tiny_sd, "other": other}
    engine = Engine(lambda spec: studios[spec.name].checkpoint)
    rows = {f"{name} {seed}": params(model=name, seed=seed) for name in studios for seed in range(3)}
    for row_id, wanted in rows.items():
        engine.join(row_id, wanted, spec_of(studios[wanted.model].spec.folder, name=wanted.model))
    drawn = pictures(run(engine))
    assert all(studios[wanted.model].off_by(wanted, drawn[row_id]) <= 1 for row_id, wanted in rows.items())
    assert tiny_sd.off_by(rows["tiny 0"], drawn["other 0"]) > 20, "the checkpoints draw alike: the test shows nothing"


def test_the_comparison_can_tell(tiny_sd: Studio) -> None:
    one = params(negative_prompt="ugly")
    others = [params(), params(negative_prompt="ugly", seed=2), params(negative_prompt="ugly", guidance_scale=4.5),
              params(negative_prompt="ugly", sampler="Euler a")]  # fmt: skip
    assert all(tiny_sd.off_by(one, tiny_sd.draw_plain(other)) > 8 for other in others)


def test_the_shared_pipeline_is_never_changed(tiny_sd: Studio) -> None:
    pipeline = tiny_sd.checkpoint.pipeline
    before = (pipeline.scheduler, dict(pipeline.scheduler.config), dict(vars(pipeline)))
    draw_together(tiny_sd, company("LCM", "guided among mixed", 3))
    assert (pipeline.scheduler, dict(pipeline.scheduler.config), dict(vars(pipeline))) == before
    assert tiny_sd.checkpoint.device == CPU
