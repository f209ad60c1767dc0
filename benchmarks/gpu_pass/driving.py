"""Drives an engine until its rows are done, and notes what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PIL.Image import Image

from benchmarks.gpu_pass.images import Difference
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.subjects import Subject
from benchmarks.gpu_pass.surface import TXT2IMG, Drawn, DrawParams, Engine, Failed, Progressed, join

SECONDS = 90.0
"""After this, rows that are not done are taken for stuck."""
GOALS_DB = {"float16": 38.0, "bfloat16": 30.0}
"""The least PSNR that is hoped for between batch sizes."""
FLOAT32_WORST = 2
"""The largest difference of a pixel, of 255, in float32 without TF32."""

Rows = Mapping[str, tuple[str, DrawParams]]
"""Kind and parameters by the row's name."""


@dataclass
class Ended:
    """What became of the rows."""

    images: dict[str, Image] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    ticks: int = 0


def tick(engine: Engine, ended: Ended, on_progress: Callable[[Progressed], None] | None = None) -> None:
    """One tick, its events noted."""
    ended.ticks += 1
    for event in engine.tick():
        if isinstance(event, Drawn):
            ended.images[event.row_id] = event.picture
        elif isinstance(event, Failed):
            ended.failures[event.row_id] = f"{type(event.failure).__name__}: {event.failure}"
        elif isinstance(event, Progressed) and on_progress is not None:
            on_progress(event)


def drive(engine: Engine, ended: Ended, on_progress: Callable[[Progressed], None] | None = None) -> Ended:
    """Tick until the engine is idle.

    Raises:
        TimeoutError: it is not idle after :data:`SECONDS`.
    """
    until = time.monotonic() + SECONDS
    while not engine.is_idle:
        tick(engine, ended, on_progress)
        if time.monotonic() > until:
            raise TimeoutError(f"not idle after {SECONDS:.0f} s; left are {engine.row_ids}")
    return ended


def draw(engine: Engine, subject: Subject, rows: Rows, *, gap_ticks: int = 0) -> Ended:
    """Draw all ``rows``, which join at once or with ``gap_ticks`` between them."""
    ended = Ended()
    for row_id, (kind, params) in rows.items():
        join(engine, row_id, subject.checkpoint, params, kind, subject.images if kind != TXT2IMG else {})
        for _ in range(gap_ticks):
            tick(engine, ended)
    return drive(engine, ended)


def judge(
    subject: Subject,
    rows: Rows,
    images: Mapping[str, Image],
    failures: Mapping[str, str],
    expected: Mapping[str, Image] | None = None,
) -> Outcome:
    """Hold each row's image against the plain pipeline's, or against the one in ``expected``.

    In float32 the worst pixel decides; in 16 bits the PSNR is a figure beside its goal, and only a row without an
    image, or with an unexpected failure, fails.
    """
    problems = dict(failures)
    differences: dict[str, Difference] = {}
    for row_id, (kind, params) in rows.items():
        if row_id not in images:
            problems.setdefault(row_id, "no image")
            continue
        try:
            wanted = subject.plain(kind, params) if expected is None else expected[row_id]
            differences[row_id] = Difference.between(wanted, images[row_id])
        except Exception as error:
            problems[row_id] = f"the image to compare with: {type(error).__name__}: {str(error)[:200]}"
    return verdict(subject.dtype, differences, problems)


def verdict(dtype: str, differences: Mapping[str, Difference], problems: Mapping[str, str]) -> Outcome:
    """The outcome by the bounds of ``dtype``."""
    worst = max((each.worst for each in differences.values()), default=-1)
    psnr_db = min((each.psnr_db for each in differences.values()), default=0.0)
    figures = {
        "worst": worst,
        "psnr_min_db": round(psnr_db, 1),
        "equal": sum(each.worst == 0 for each in differences.values()),
        "of": len(differences) + len(problems),
        "rows": {name: {"worst": each.worst, "psnr_db": round(each.psnr_db, 1)} for name, each in differences.items()},
    }
    passed: bool | None = worst <= FLOAT32_WORST if dtype == "float32" else None
    if dtype in GOALS_DB:
        figures |= {"goal_db": GOALS_DB[dtype], "goal_reached": psnr_db >= GOALS_DB[dtype]}
    told = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    return Outcome(False if problems or not differences else passed, figures, told)
