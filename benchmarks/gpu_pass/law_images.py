"""The law by images: alone, in company, joining late and beside cancelled rows, each is the plain pipeline's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.gpu_pass.driving import Ended, Rows, draw, drive, judge
from benchmarks.gpu_pass.images import Difference
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.running import Check
from benchmarks.gpu_pass.subjects import PROMPTS, Subject, Subjects
from benchmarks.gpu_pass.surface import IMG2IMG, TXT2IMG, Denoiser, Progressed, join, open_engine

SAMPLERS = (
    "Euler", "Euler a", "DPM++ 2M Karras", "DPM++ 2M SDE", "DDIM", "UniPC", "Heun", "LCM", "DPM++ SDE",
)  # fmt: skip
GUIDANCE = (5.0, 2.5, 7.5, 9.0)
CROWD = 8
"""Rows that are drawn at once."""


def crowd(subject: Subject, samplers: Sequence[str], kind: str = TXT2IMG, unguided_every: int = 0) -> Rows:
    """A row for each sampler, by its name; neighbours differ in everything they may.

    Args:
        unguided_every: one row in so many has no classifier-free guidance; 0 is none, 1 is all.
    """
    return {
        sampler: (
            kind,
            subject.params(
                kind,
                sampler=sampler,
                num_inference_steps=4 + number % 3,
                prompt=PROMPTS[number % len(PROMPTS)],
                negative_prompt=("ugly", "", "blurry")[number % 3],
                seed=100 + number,
                guidance_scale=1.0 if unguided_every and number % unguided_every == 0 else GUIDANCE[number % 4],
            ),
        )
        for number, sampler in enumerate(samplers)
    }


def alone(subject: Subject, rows: Rows) -> Outcome:
    """Each row with no other."""
    ended = Ended()
    with open_engine(subject.checkpoint, 1) as engine:
        for row_id, row in rows.items():
            one = draw(engine, subject, {row_id: row})
            ended.images |= one.images
            ended.failures |= one.failures
    return judge(subject, rows, ended.images, ended.failures)


def together(subject: Subject, rows: Rows, denoiser: Denoiser | None = None, gap_ticks: int = 0) -> Outcome:
    """All rows at once, or each ``gap_ticks`` after the one before."""
    with open_engine(subject.checkpoint, CROWD, denoiser=denoiser) as engine:
        ended = draw(engine, subject, rows, gap_ticks=gap_ticks)
    return judge(subject, rows, ended.images, ended.failures)


def beside_cancelled(subject: Subject, rows: Rows) -> Outcome:
    """All rows, with three more that are cancelled after their second step; none of those may become an image."""
    with open_engine(subject.checkpoint, CROWD) as engine:

        def cancel(event: Progressed) -> None:
            if event.row_id.startswith("leaver") and event.step == 2:
                engine.leave(event.row_id)

        for number, (row_id, (kind, params)) in enumerate(rows.items()):
            if number % 3 == 0:
                leaver = subject.params(seed=number, num_inference_steps=9)
                join(engine, f"leaver {number}", subject.checkpoint, leaver)
            join(engine, row_id, subject.checkpoint, params, kind, subject.images)
        ended = drive(engine, Ended(), cancel)
    drawn = {name: "drawn though cancelled" for name in ended.images if name.startswith("leaver")}
    return judge(subject, rows, ended.images, ended.failures | drawn)


def can_tell(subject: Subject) -> Outcome:
    """Other seeds, prompts and samplers give other images; else the comparisons above would show nothing."""
    changes: dict[str, dict[str, Any]] = {
        "seed": {"seed": 2}, "prompt": {"prompt": "two boats"}, "sampler": {"sampler": "Euler a"},
    }  # fmt: skip
    base = subject.plain(TXT2IMG, subject.params())
    found = {
        name: Difference.between(base, subject.plain(TXT2IMG, subject.params(**change)))
        for name, change in changes.items()
    }
    figures = {f"{name}_worst": each.worst for name, each in found.items()}
    return Outcome(found["seed"].worst > 20 and found["sampler"].worst > 20, figures)


def crowd_outcome(
    subject: Subject, run: Callable[..., Outcome], samplers: Sequence[str], kind: str, every: int, **options: Any
) -> Outcome:
    """``run`` with the rows of :func:`crowd`."""
    return run(subject, crowd(subject, samplers, kind, every), **options)


def checks(subjects: Subjects, name: str, dtype: str, samplers: Sequence[str]) -> Iterator[Check]:
    """All of the above with one model in one dtype."""
    cases: dict[str, tuple[Callable[..., Outcome], str, int, dict[str, Any]]] = {
        "alone, guided": (alone, TXT2IMG, 0, {}),
        "alone, unguided": (alone, TXT2IMG, 1, {}),
        "alone, img2img": (alone, IMG2IMG, 0, {}),
        "together, guided": (together, TXT2IMG, 0, {}),
        "together, mixed guidance": (together, TXT2IMG, 2, {}),
        "together, img2img": (together, IMG2IMG, 0, {}),
        "joining late": (together, TXT2IMG, 0, {"gap_ticks": 1}),
        "beside cancelled rows": (beside_cancelled, TXT2IMG, 0, {}),
    }
    yield Check(f"{name}/{dtype}/comparisons can tell", subjects.on(name, dtype, can_tell))
    for title, (run, kind, every, options) in cases.items():
        on = subjects.on(name, dtype, crowd_outcome, run, samplers, kind, every, **options)
        yield Check(f"{name}/{dtype}/{title}", on, 75)
