"""Runs an engine until its rows have ended, and compares their images with expected ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL.Image import Image

from benchmarks.gpu_pass.images import Difference
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.subjects import Subject
from benchmarks.gpu_pass.surface import PSNR_DB, TXT2IMG, DrawParams, Engine, Failed, Finished, Progressed, add_row

DRIVE_TIMEOUT_S = 90.0
"""The time after which rows that have not ended count as stuck."""
FLOAT32_WORST = 2
"""The largest difference of a pixel that passes in float32 without TF32, of 255."""

Rows = Mapping[str, tuple[str, DrawParams]]
"""The kind and parameters of each row, by the row's id."""


@dataclass
class Ended:
    """The images and failures of rows that have ended."""

    images: dict[str, Image] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    """The results of rows that give no image."""
    failures: dict[str, str] = field(default_factory=dict)
    engine_steps: int = 0


def step_engine(engine: Engine, ended: Ended, on_progress: Callable[[Progressed], None] | None = None) -> None:
    """Take one step of the engine and record its events in ``ended``."""
    ended.engine_steps += 1
    for event in engine.step():
        if isinstance(event, Finished):
            if isinstance(event.result, Image):
                ended.images[event.row_id] = event.result
            else:
                ended.documents[event.row_id] = event.result.document
        elif isinstance(event, Failed):
            ended.failures[event.row_id] = f"{type(event.failure).__name__}: {event.failure}"
        elif isinstance(event, Progressed) and on_progress is not None:
            on_progress(event)


def drive(engine: Engine, ended: Ended, on_progress: Callable[[Progressed], None] | None = None) -> Ended:
    """Step the engine until it is idle.

    Raises:
        TimeoutError: it is not idle after :data:`DRIVE_TIMEOUT_S`.
    """
    until = time.monotonic() + DRIVE_TIMEOUT_S
    while not engine.is_idle:
        step_engine(engine, ended, on_progress)
        if time.monotonic() > until:
            raise TimeoutError(f"not idle after {DRIVE_TIMEOUT_S:.0f} s; these rows are left: {engine.row_ids}")
    return ended


def draw(engine: Engine, subject: Subject, rows: Rows, *, gap_steps: int = 0) -> Ended:
    """Draw all ``rows``, added at once or with ``gap_steps`` steps of the engine between them."""
    ended = Ended()
    for row_id, (kind, params) in rows.items():
        add_row(engine, row_id, subject.checkpoint, params, kind, subject.images if kind != TXT2IMG else {})
        for _ in range(gap_steps):
            step_engine(engine, ended)
    return drive(engine, ended)


def judge(
    subject: Subject,
    rows: Rows,
    images: Mapping[str, Image],
    failures: Mapping[str, str],
    expected: Mapping[str, Image] | None = None,
) -> Outcome:
    """Compare each row's image with the plain pipeline's, or with the one in ``expected``.

    In float32 the worst pixel decides. In 16 bits the PSNR is reported with its goal, and only a row without an image,
    or with an unexpected failure, fails the check.
    """
    problems = dict(failures)
    differences: dict[str, Difference] = {}
    for row_id, (kind, params) in rows.items():
        if row_id not in images:
            problems.setdefault(row_id, "no image")
            continue
        try:
            reference = subject.plain(kind, params) if expected is None else expected[row_id]
            differences[row_id] = Difference.between(reference, images[row_id])
        except Exception as error:
            problems[row_id] = f"the expected image could not be drawn: {type(error).__name__}: {str(error)[:200]}"
    return verdict(subject.dtype, differences, problems)


def verdict(dtype: str, differences: Mapping[str, Difference], problems: Mapping[str, str]) -> Outcome:
    """The outcome of ``differences`` by the bounds of ``dtype``; any of ``problems`` is a failure."""
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
    if dtype in PSNR_DB:
        figures |= {"goal_db": PSNR_DB[dtype], "goal_reached": psnr_db >= PSNR_DB[dtype]}
    detail = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
    return Outcome(False if problems or not differences else passed, figures, detail)
