"""The stage ``speed``: SD 1.5 at 512 px and SDXL at 1024 px of true shape, random weights, bfloat16."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu_pass import speed_single, speed_ways
from benchmarks.gpu_pass.report import Outcome, Report
from benchmarks.gpu_pass.running import Check, run_all
from benchmarks.gpu_pass.speed_bench import Bench, forwards
from benchmarks.gpu_pass.subjects import Subjects

BUDGET_S = 330.0
STEPS = {"sd15": (10, 30), "sdxl": (30, 30)}
REHEARSAL_STEPS = {"sd15": (3, 6), "sdxl": (5, 5)}
OVERHEAD_S = 5.0
"""What a way takes beside its window: warm-up, and ending the job at hand."""


class Benches:
    """The benches of the models; the latest is kept."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._latest: tuple[str, Bench] | None = None
        self._forward_s: dict[str, dict[int, float]] = {}

    def get(self, model: str) -> Bench:
        """The bench of "sd15" or "sdxl"."""
        if self._latest is None or self._latest[0] != model:
            self._latest = None
            steps = (REHEARSAL_STEPS if self._subjects.rehearse else STEPS)[model]
            known = self._forward_s.setdefault(model, {})
            self._latest = model, Bench(self._subjects.get(model, "bfloat16"), steps, known)
        return self._latest[1]


@dataclass(frozen=True)
class Plan:
    """How long things may take."""

    report: Report
    budget_s: float
    rehearse: bool

    def window_s(self, share: float, longest_s: float) -> float:
        """A share of the time that is left, within bounds."""
        left_s = self.budget_s - self.report.age_s
        return 0.4 if self.rehearse else min(longest_s, max(4.0, share * left_s - OVERHEAD_S))


def run(report: Report, device: torch.device, budget_s: float, only: str, *, rehearse: bool) -> None:
    """Measure all with ``only`` in their names on ``device``; TF32 does not matter, for all is bfloat16."""
    benches = Benches(Subjects(device, rehearse=rehearse))
    chosen = [check for check in checks(benches, Plan(report, budget_s, rehearse)) if only in check.name]
    run_all(chosen, report, budget_s, device)


def checks(benches: Benches, plan: Plan) -> Iterator[Check]:
    """The most important first; a model is built twice rather than kept in the way of the other."""

    def check(model: str, title: str, run: Callable[..., Outcome], *args: Any, cap_s: float = 60.0) -> Check:
        return Check(f"{model}/{title}", lambda: run(benches.get(model), *args), cap_s)

    def way(model: str, title: str, run: Callable[..., Outcome], share: float, longest_s: float) -> Check:
        def measure(bench: Bench) -> Outcome:
            return run(bench, window_s=plan.window_s(share, longest_s))

        return check(model, title, measure, cap_s=longest_s + 45)

    ways = speed_ways
    engine = {rows: partial(ways.engine_way, rows=rows) for rows in (1, 4, 8, 16)}
    one_by_one, static = (partial(ways.plain_way, rows=rows) for rows in (1, 8))
    for model, longest_s, times in (("sd15", 14.0, 12), ("sdxl", 24.0, 4)):
        yield check(model, "build", _build)
        yield check(model, "forwards", forwards)
        yield way(model, "engine, 16 rows", engine[16], 0.12, longest_s)
        yield way(model, "plain, one by one", one_by_one, 0.1, longest_s)
        yield way(model, "one job alone", speed_single.alone, 0.06, longest_s / 2)
        yield check(model, "newcomer beside 15", speed_single.newcomer, times)
        yield check(model, "profile of ticks, 16 rows", speed_single.profiled, 16, 4)
        if model == "sd15":
            yield way(model, "plain, static batches of 8", static, 0.07, longest_s)
            yield way(model, "engine, 8 rows", engine[8], 0.07, longest_s)
    calibrated = partial(ways.engine_way, rows=16, calibrated=True)
    for model, share in (("sdxl", 0.15), ("sd15", 0.2)):
        if model == "sdxl":
            yield way(model, "plain, static batches of 8", static, share, 24.0)
            yield way(model, "engine, 8 rows", engine[8], share, 20.0)
        yield way(model, "engine, 4 rows", engine[4], share, 10.0)
        yield way(model, "engine, 1 row", engine[1], share, 10.0)
    yield way("sd15", "engine, calibrated", calibrated, 0.25, 12.0)
    yield way("sd15", "plain, batches of 8 equal jobs", partial(ways.equal_jobs, rows=8), 0.2, 8.0)
    yield check("sd15", "compiled forward of 8 images", speed_single.compiled_forward, 8, cap_s=90.0)


def _build(bench: Bench) -> Outcome:
    """That the model is there; the entry's seconds say how long it took."""
    began_at = time.perf_counter()
    parameters = sum(each.numel() for each in bench.subject.checkpoint.pipeline.unet.parameters())
    return Outcome(None, {"unet_parameters": parameters, "checked_s": time.perf_counter() - began_at})
