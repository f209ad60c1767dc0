"""The law: a row's image does not depend on the rows beside it, and alone it is the plain pipeline's.

All samplers are drawn in one crowd, each with everything else different from its neighbours; a case says what they
have in common. The plain pipeline's images are drawn once and serve all tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import cycle
from typing import Any

import pytest
import torch

from models.diffusion.denoising import Denoising
from models.diffusion.engine import Engine
from models.diffusion.events import Event, Progressed
from models.errors import DrawingFailed
from models.jobs.params import DrawParams
from tests.models.diffusion.driving import SAMPLED, plain_name
from tests.models.diffusion.rig import CPU, Studio, add_row, failures, images, params, poisoned, prepare, run, spec_of
from tests.tiny import build_tiny_sd

GUIDED, UNGUIDED = (5.0, 2.5, 7.5, 12.0), (1.0, 0.0, 1.0, 0.5)
CASES: Mapping[str, Callable[[int], Mapping[str, Any]]] = {
    "guided": lambda number: {"guidance_scale": GUIDED[number % 4]},
    "unguided": lambda number: {"guidance_scale": UNGUIDED[number % 4]},
    "mixed": lambda number: {"guidance_scale": (GUIDED, UNGUIDED)[number % 2][number % 4]},
    "mixed the other way": lambda number: {"guidance_scale": (UNGUIDED, GUIDED)[number % 2][number % 4]},
}
"""What the rows of a crowd are drawn with, by their number in it, beside :func:`crowd`'s own."""

PLAIN = [name for name in SAMPLED if plain_name(name) == name]
"""The samplers without those that differ from others in the layout of their steps only."""

mixed_cases = pytest.mark.parametrize("case", [case for case in CASES if case.startswith("mixed")])
every_sampler = pytest.mark.parametrize("sampler", SAMPLED)


def crowd(case: str, samplers: Iterable[str] = SAMPLED) -> dict[str, DrawParams]:
    """A row for each sampler, by its name; neighbours differ in everything they may."""
    return {
        sampler: params(
            sampler=sampler,
            num_inference_steps=4 + number % 3,
            prompt=("a cat", "a dog", "a red house", "")[number % 4],
            negative_prompt=("ugly", "", "blurry")[number % 3],
            seed=100 + number,
            **CASES[case](number),
        )
        for number, sampler in enumerate(samplers)
    }


def plain_crowd(case: str) -> dict[str, DrawParams]:
    """Those of the crowd that are drawn with the samplers in ``PLAIN``."""
    return {sampler: wanted for sampler, wanted in crowd(case).items() if sampler in PLAIN}


def draw_together(studio: Studio, rows: Mapping[str, DrawParams], capacity: int = 8) -> None:
    """Draw all of them, ``capacity`` at a time, and hold each against the plain pipeline."""
    engine = studio.engine(rows=capacity)
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, studio.spec)
    check(studio, rows, run(engine))


def check(studio: Studio, rows: Mapping[str, DrawParams], events: list[Event]) -> None:
    """Each of ``rows``, and no other, was drawn as the plain pipeline draws it."""
    drawn = images(events)
    assert drawn.keys() == rows.keys(), failures(events)
    off_by = {row_id: studio.off_by(wanted, drawn[row_id]) for row_id, wanted in rows.items()}
    assert {row_id: off for row_id, off in off_by.items() if off > 1} == {}


def latents_alone(row: Denoising) -> torch.Tensor:
    """Take all steps of a row, with nothing around it."""
    with torch.inference_mode():
        while row.step < row.steps:
            (output,) = row.forward([row])
            assert isinstance(output, torch.Tensor)
            assert row.advance([row], [output]) == [None]
    return row.latents


def check_alone(studio: Studio, wanted: DrawParams) -> None:
    """Image and latents are the plain pipeline's to the bit."""
    engine = studio.engine()
    add_row(engine, "row", wanted, studio.spec)
    assert studio.off_by(wanted, images(run(engine))["row"]) == 0
    row = prepare(studio, wanted)
    assert torch.equal(latents_alone(row), studio.plain_latents(wanted))


@every_sampler
@pytest.mark.parametrize("case", ["guided", "unguided"])
def test_alone_it_is_the_plain_pipelines_image_to_the_bit(tiny_sd: Studio, case: str, sampler: str) -> None:
    check_alone(tiny_sd, crowd(case)[sampler])


@pytest.mark.parametrize("sampler", PLAIN)
@pytest.mark.parametrize("model", ["tiny_house", "tiny_distilled"])
def test_alone_with_another_kind_of_model(request: pytest.FixtureRequest, model: str, sampler: str) -> None:
    check_alone(request.getfixturevalue(model), crowd("mixed")[sampler])


@pytest.mark.parametrize(
    ("case", "capacity"),
    [*((case, 8) for case in CASES), *(("mixed", capacity) for capacity in (2, 3, 5))],
)
def test_in_a_batch(tiny_sd: Studio, case: str, capacity: int) -> None:
    draw_together(tiny_sd, crowd(case), capacity)


@pytest.mark.parametrize("model", ["tiny_house", "tiny_distilled"])
def test_in_a_batch_of_another_kind_of_model(request: pytest.FixtureRequest, model: str) -> None:
    draw_together(request.getfixturevalue(model), plain_crowd("mixed"))


def test_over_many_steps(tiny_sd: Studio) -> None:
    steps = zip(PLAIN, cycle(range(20, 32, 2)), strict=False)
    draw_together(tiny_sd, {name: params(sampler=name, num_inference_steps=count) for name, count in steps})


@mixed_cases
def test_joining_late(tiny_sd: Studio, case: str) -> None:
    rows = crowd(case)
    engine, events = tiny_sd.engine(rows=len(rows)), []
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, tiny_sd.spec)
        events += engine.step()
    check(tiny_sd, rows, events + run(engine))


@mixed_cases
def test_neighbours_cancelled(tiny_sd: Studio, case: str) -> None:
    rows, engine, events = crowd(case), tiny_sd.engine(), []
    for number, (row_id, wanted) in enumerate(rows.items()):
        add_row(engine, row_id, wanted, tiny_sd.spec)
        if number % 3 == 0:
            add_row(engine, f"leaver {row_id}", params(seed=number, num_inference_steps=9), tiny_sd.spec)
    while not engine.is_idle:
        for event in engine.step():
            if isinstance(event, Progressed) and event.row_id.startswith("leaver") and event.step == 3:
                engine.cancel_row(event.row_id)
            events.append(event)
    check(tiny_sd, rows, events)


@mixed_cases
def test_neighbours_failed(tiny_sd: Studio, case: str) -> None:
    rows, engine = crowd(case), tiny_sd.engine(poisoned(tiny_sd, "poison"))
    for number, (row_id, wanted) in enumerate(rows.items()):
        add_row(engine, row_id, wanted, tiny_sd.spec)
        if number % 3 == 0:
            guidance_scale = wanted.guidance_scale
            add_row(engine, f"victim {row_id}", params(prompt="poison", guidance_scale=guidance_scale), tiny_sd.spec)
    events = run(engine)
    check(tiny_sd, rows, events)
    assert len(failures(events)) == len(range(0, len(rows), 3))
    assert all(isinstance(failure, DrawingFailed) for failure in failures(events).values())


def test_other_sizes_at_once(tiny_sd: Studio) -> None:
    sizes = cycle(((64, 64), (32, 64), (64, 32), (96, 64)))
    sized = zip(PLAIN, sizes, strict=False)
    draw_together(tiny_sd, {name: params(sampler=name, width=width, height=height) for name, (width, height) in sized})


def test_two_checkpoints_at_once(tiny_sd: Studio, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Studio.open(build_tiny_sd(tmp_path_factory.mktemp("models") / "other", seed=7))
    studios = {"tiny": tiny_sd, "other": other}
    engine = Engine(lambda spec: studios[spec.name].checkpoint)
    rows = {f"{name} {seed}": params(model=name, seed=seed) for name in studios for seed in range(3)}
    for row_id, wanted in rows.items():
        add_row(engine, row_id, wanted, spec_of(studios[wanted.model].spec.folder, name=wanted.model))
    drawn = images(run(engine))
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
    draw_together(tiny_sd, crowd("mixed", ["LCM", "DPM++ SDE", "Euler"]))
    assert (pipeline.scheduler, dict(pipeline.scheduler.config), dict(vars(pipeline))) == before
    assert tiny_sd.checkpoint.device == CPU
