"""The law by images: alone, in a batch, added late and beside canceled rows, each row's image equals the plain one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.gpu_pass.driving import Ended, Rows, draw, drive, judge
from benchmarks.gpu_pass.images import Difference
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.running import Check
from benchmarks.gpu_pass.subjects import PROMPTS, Subject, Subjects
from benchmarks.gpu_pass.surface import IMG2IMG, TXT2IMG, Denoiser, Progressed, add_row, open_engine

SAMPLERS = (
    "Euler", "Euler a", "DPM++ 2M Karras", "DPM++ 2M SDE", "DDIM", "UniPC", "Heun", "LCM", "DPM++ SDE",
)  # fmt: skip
GUIDANCE = (5.0, 2.5, 7.5, 9.0)
ROWS = 8
"""The number of rows that the engine draws at once."""


def mixed_rows(subject: Subject, samplers: Sequence[str], kind: str = TXT2IMG, unguided_every: int = 0) -> Rows:
    """One row for each sampler, with the sampler's name as id; the rows differ in all other parameters too.

    Args:
        unguided_every: one row in this many has no classifier-free guidance; 0 means no row, 1 every row.
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
    """Draw each row alone."""
    ended = Ended()
    with open_engine(subject.checkpoint, 1) as engine:
        for row_id, row in rows.items():
            one = draw(engine, subject, {row_id: row})
            ended.images |= one.images
            ended.failures |= one.failures
    return judge(subject, rows, ended.images, ended.failures)


def together(subject: Subject, rows: Rows, denoiser: Denoiser | None = None, gap_steps: int = 0) -> Outcome:
    """Draw all rows, added at once or each ``gap_steps`` steps of the engine after the one before."""
    with open_engine(subject.checkpoint, ROWS, denoiser=denoiser) as engine:
        ended = draw(engine, subject, rows, gap_steps=gap_steps)
    return judge(subject, rows, ended.images, ended.failures)


def beside_canceled(subject: Subject, rows: Rows) -> Outcome:
    """Draw all rows and others that are canceled after their second step; those must not give an image."""
    with open_engine(subject.checkpoint, ROWS) as engine:

        def cancel(event: Progressed) -> None:
            if event.row_id.startswith("canceled") and event.step == 2:
                engine.cancel_row(event.row_id)

        for number, (row_id, (kind, params)) in enumerate(rows.items()):
            if number % 3 == 0:
                canceled = subject.params(seed=number, num_inference_steps=9)
                add_row(engine, f"canceled {number}", subject.checkpoint, canceled)
            add_row(engine, row_id, subject.checkpoint, params, kind, subject.images)
        ended = drive(engine, Ended(), cancel)
    drawn = {name: "drawn although canceled" for name in ended.images if name.startswith("canceled")}
    return judge(subject, rows, ended.images, ended.failures | drawn)


def sensitivity(subject: Subject) -> Outcome:
    """Other seeds, prompts and samplers give other images; otherwise the comparisons would prove nothing."""
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


def outcome_of(
    subject: Subject, run: Callable[..., Outcome], samplers: Sequence[str], kind: str, every: int, **options: Any
) -> Outcome:
    """``run`` with the rows of :func:`mixed_rows`."""
    return run(subject, mixed_rows(subject, samplers, kind, every), **options)


def checks(subjects: Subjects, name: str, dtype: str, samplers: Sequence[str]) -> Iterator[Check]:
    """All checks of this module with one model in one dtype."""
    cases: dict[str, tuple[Callable[..., Outcome], str, int, dict[str, Any]]] = {
        "alone, guided": (alone, TXT2IMG, 0, {}),
        "alone, unguided": (alone, TXT2IMG, 1, {}),
        "alone, img2img": (alone, IMG2IMG, 0, {}),
        "together, guided": (together, TXT2IMG, 0, {}),
        "together, mixed guidance": (together, TXT2IMG, 2, {}),
        "together, img2img": (together, IMG2IMG, 0, {}),
        "added late": (together, TXT2IMG, 0, {"gap_steps": 1}),
        "beside canceled rows": (beside_canceled, TXT2IMG, 0, {}),
    }
    yield Check(f"{name}/{dtype}/comparisons are sensitive", subjects.on(name, dtype, sensitivity))
    for title, (run, kind, every, options) in cases.items():
        on = subjects.on(name, dtype, outcome_of, run, samplers, kind, every, **options)
        yield Check(f"{name}/{dtype}/{title}", on, 75)
