"""The stage ``speed``: SD 1.5 at 512 px and SDXL at 1024 px, of full size, with random weights, in bfloat16."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu_pass.report import Outcome, Report
from benchmarks.gpu_pass.running import Check, run_all
from benchmarks.gpu_pass.speed_bench import Bench, forwards
from benchmarks.gpu_pass.speed_single import alone, compiled_forward, first_step, profiled
from benchmarks.gpu_pass.speed_ways import engine_way, equal_jobs, moderate_load, plain_way
from benchmarks.gpu_pass.subjects import Subjects

BUDGET_S = 330.0
STEPS = {"sd15": (10, 30), "sdxl": (30, 30)}
REHEARSAL_STEPS = {"sd15": (3, 6), "sdxl": (5, 5)}
OVERHEAD_S = 5.0
"""The time that a measurement takes in addition to its window: the warm-up, and the last forward or call."""
SHORTEST_S = 4.0
COMPILING_S = 100.0
"""The longest time that a measurement may take for compiling, in addition to its window."""
REHEARSAL_S = 0.4


class Benches:
    """The benches of the models; only the latest is kept in memory."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._latest: tuple[str, Bench] | None = None
        self._forward_s: dict[str, dict[int, float]] = {}

    def get(self, model: str) -> Bench:
        """The bench of "sd15" or "sdxl", in bfloat16 unless another dtype follows the name."""
        if self._latest is None or self._latest[0] != model:
            self._latest = None
            torch._dynamo.reset()  # or the other model's compiled blocks would be kept, and looked through
            name, _, dtype = model.partition(" ")
            steps = (REHEARSAL_STEPS if self._subjects.rehearse else STEPS)[name]
            known = self._forward_s.setdefault(model, {})
            self._latest = model, Bench(self._subjects.get(name, dtype or "bfloat16"), steps, known)
        return self._latest[1]


@dataclass(frozen=True)
class Plan:
    """Makes the measurements, with a time limit for each."""

    benches: Benches
    report: Report
    budget_s: float
    rehearse: bool

    def check(self, model: str, title: str, run: Callable[..., Outcome], *args: Any, cap_s: float = 60.0) -> Check:
        """A measurement with the bench of ``model``, which is built when the measurement runs."""
        return Check(f"{model}/{title}", lambda: run(self.benches.get(model), *args), cap_s)

    def way(
        self, model: str, title: str, run: Callable[..., Outcome], share: float, longest_s: float, extra_s: float = 45.0
    ) -> Check:
        """A measurement that serves arrivals for ``share`` of the time that is left, but at most ``longest_s``.

        It may take ``extra_s`` in addition, such as for compiling.
        """

        def measure(bench: Bench) -> Outcome:
            return run(bench, window_s=self._window_s(share, longest_s))

        return self.check(model, title, measure, cap_s=longest_s + extra_s)

    def _window_s(self, share: float, longest_s: float) -> float:
        left_s = self.budget_s - self.report.age_s
        return REHEARSAL_S if self.rehearse else min(longest_s, max(SHORTEST_S, share * left_s - OVERHEAD_S))


def run(report: Report, device: torch.device, budget_s: float, only: str, *, rehearse: bool) -> None:
    """Take the measurements with ``only`` in their names on ``device``; TF32 has no effect on bfloat16."""
    plan = Plan(Benches(Subjects(device, rehearse=rehearse)), report, budget_s, rehearse)
    chosen = [check for check in (*important(plan), *secondary(plan)) if only in check.name]
    run_all(chosen, report, budget_s, device)


def important(plan: Plan) -> Iterator[Check]:
    """The measurements that have goals, with both models."""
    for model, longest_s, times in (("sd15", 12.0, 12), ("sdxl", 24.0, 4)):
        yield plan.check(model, "build", _build)
        yield plan.check(model, "forwards", forwards)
        yield plan.way(model, "engine, 16 rows", _engine(16), 0.12, longest_s)
        yield plan.way(model, "plain, one by one", partial(plain_way, rows=1), 0.1, longest_s)
        yield plan.way(model, "one job alone", alone, 0.06, longest_s / 2)
        if model == "sd15":
            yield plan.way(model, "engine, 8 rows", _engine(8), 0.07, longest_s)
            yield from _compiled(plan)
        yield plan.check(model, "first step beside 15", first_step, times)
        yield plan.check(model, "profile of steps, 16 rows", profiled, 16, 4)
        yield plan.way(model, "engine, 16 rows, 70 % load", moderate_load, 0.06, longest_s / 2)
        if model == "sd15":
            yield plan.way(model, "engine, 16 rows, previews", partial(engine_way, rows=16, preview_every=5), 0.1, 8.0)
            yield plan.way(model, "plain, static batches of 8", partial(plain_way, rows=8), 0.07, longest_s)


def _compiled(plan: Plan) -> Iterator[Check]:
    """SD 1.5 with compiled blocks. All share one UNet, which each compiles for the batch sizes that it adds."""
    for rows, sizes in ((8, (16,)), (16, (16, 32))):
        run = partial(engine_way, rows=rows, compiled=sizes)
        yield plan.way("sd15", f"engine, {rows} rows, compiled", run, 0.1, 12.0, COMPILING_S)
    yield plan.way("sd15", "one job alone, compiled", partial(alone, compiled=(2,)), 0.06, 6.0, COMPILING_S)
    yield plan.check("sd15", "compiled forward of 8 images", compiled_forward, 8, cap_s=COMPILING_S)


def secondary(plan: Plan) -> Iterator[Check]:
    """The other measurements, as far as time allows. SD 1.5 is built again, so that SDXL has all of the memory."""
    run = partial(engine_way, rows=4, compiled=(8,))
    yield plan.way("sdxl", "engine, 4 rows", _engine(4), 0.15, 10.0)
    yield plan.way("sdxl", "engine, 4 rows, compiled", run, 0.2, 12.0, COMPILING_S)
    yield plan.way("sdxl", "plain, static batches of 8", partial(plain_way, rows=8), 0.15, 24.0)
    yield plan.way("sdxl", "engine, 8 rows", _engine(8), 0.15, 20.0)
    yield plan.way("sdxl", "engine, 1 row", _engine(1), 0.15, 10.0)
    yield plan.way("sd15", "engine, 4 rows", _engine(4), 0.2, 10.0)
    yield plan.way("sd15", "engine, 1 row", _engine(1), 0.2, 10.0)
    yield plan.way("sd15", "engine, calibrated", partial(engine_way, rows=16, calibrated=True), 0.25, 12.0)
    yield plan.way("sd15", "plain, batches of 8 equal jobs", partial(equal_jobs, rows=8), 0.2, 8.0)
    yield plan.check("sd15 float16", "forwards", forwards)


def _engine(rows: int) -> Callable[..., Outcome]:
    return partial(engine_way, rows=rows)


def _build(bench: Bench) -> Outcome:
    """Build the model; the entry's seconds give the time."""
    began_at = time.perf_counter()
    parameters = sum(each.numel() for each in bench.subject.checkpoint.pipeline.unet.parameters())
    return Outcome(None, {"unet_parameters": parameters, "checked_s": time.perf_counter() - began_at})
