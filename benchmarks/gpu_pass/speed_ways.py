"""The ways of serving the same arrivals, each measured in a time window after a warm-up."""

from __future__ import annotations

import gc
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.gpu_pass.plain import call, pipeline_of
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.spans import Watch, WatchedDenoiser, wait
from benchmarks.gpu_pass.speed_bench import Bench, Job
from benchmarks.gpu_pass.surface import Engine, Failed, Finished, Progressed, add_row, calibrate, open_engine

WARM_UP_S = 20.0
"""The longest time that a warm-up may take."""
WHOLE_JOBS = 3
FULL = 16
MODERATE = 0.7


@dataclass
class Run:
    """What was served in one window; times are in seconds since its start."""

    arrived: dict[str, float] = field(default_factory=dict)
    finished: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    """The steps of all images, including images that were not finished in the window."""
    last_s: float = 0.0
    failures: list[str] = field(default_factory=list)

    def outcome(self, bench: Bench, watch: Watch) -> Outcome:
        """The figures. A job that was not finished counts as if it had finished at the end of the window."""
        latencies = sorted(self.finished.get(name, self.last_s) - at for name, at in self.arrived.items())
        figures: dict[str, Any] = {
            "images_per_s": self.steps / bench.mean_steps / self.last_s,
            "p50_s": _rank(latencies, 0.5),
            "p95_s": _rank(latencies, 0.95),
            "finished": len(self.finished),
            "unfinished": len(self.arrived) - len(self.finished),
            "window_s": self.last_s,
            "busy": watch.shares(),
            "between_forwards_ms": watch.between_forwards_ms(),
            "steps": self.steps,
        }
        figures["busy_share"] = figures["busy"]["all"]
        if bench.device.type == "cuda":
            figures["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        return Outcome(False if self.failures else None, figures, "; ".join(self.failures[:3]))


def _rank(ordered: Sequence[float], share: float) -> float:
    """The quantile of ``ordered`` by the nearest rank; 0 if it is empty."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


class Window:
    """A time window, the jobs that arrive in it, and their record."""

    def __init__(self, bench: Bench, watch: Watch, window_s: float, jobs: Iterator[Job] | None = None) -> None:
        self._jobs, self._next = jobs or bench.jobs(bench.gap_s), deque[Job]()
        self.window_s, self.run = window_s, Run()
        gc.collect()  # engines are in reference cycles, which keep their memory allocated
        wait(bench.device)
        if bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        watch.reset()
        self._began_at = time.perf_counter()

    @property
    def now_s(self) -> float:
        """The seconds since the start."""
        return time.perf_counter() - self._began_at

    @property
    def is_open(self) -> bool:
        return self.now_s < self.window_s

    def arrivals(self) -> Iterator[Job]:
        """The jobs that have arrived since the last call."""
        while True:
            if not self._next:
                self._next.append(next(self._jobs))
            if self._next[0].arrival_s > self.now_s:
                return
            job = self._next.popleft()
            self.run.arrived[job.name] = job.arrival_s
            yield job

    def close(self) -> Run:
        """End the window and return its record."""
        self.run.last_s = self.now_s
        return self.run


def engine_way(
    bench: Bench,
    rows: int,
    window_s: float,
    *,
    calibrated: bool = False,
    preview_every: int = 0,
    compiled: Sequence[int] = (),
) -> Outcome:
    """Serve with the engine, with ``rows`` at once or with the number that its calibration gives.

    The window starts when all rows run, at different steps, as they do after some time of service.

    Args:
        preview_every: the number of steps between two previews of a row; 0 is none.
        compiled: the sizes of batches for which the UNet is compiled before the window; none for the eager UNet.
    """
    checkpoint, watch = bench.subject.checkpoint, Watch(bench.device)
    admitted = None if calibrated else rows
    inner, compiling_s = bench.compiled(compiled) if compiled else (None, 0.0)
    denoiser = None if inner is None else WatchedDenoiser(inner, watch)
    with (
        open_engine(checkpoint, admitted, denoiser=denoiser, preview_every=preview_every) as engine,
        watch.on(checkpoint.pipeline),
    ):
        if calibrated:
            calibrate(checkpoint, engine.capacity)
        fill(bench, engine, rows)
        outcome = _serve(bench, engine, Window(bench, watch, window_s), watch)
    if compiled:
        outcome.figures["compiling_s"] = compiling_s
    elif rows == FULL and not calibrated and not preview_every:
        bench.full_rate = outcome.figures["images_per_s"]
    return outcome


def moderate_load(bench: Bench, window_s: float) -> Outcome:
    """Serve with an engine of sixteen rows, at an arrival rate of :data:`MODERATE` times its measured throughput."""
    checkpoint, watch = bench.subject.checkpoint, Watch(bench.device)
    gap_s = 1 / (MODERATE * bench.full_rate) if bench.full_rate else bench.gap_s / MODERATE
    with open_engine(checkpoint, FULL) as engine, watch.on(checkpoint.pipeline):
        return _serve(bench, engine, Window(bench, watch, window_s, bench.jobs(gap_s, burst=0)), watch)


def _serve(bench: Bench, engine: Engine, window: Window, watch: Watch) -> Outcome:
    """Let the engine draw the jobs that arrive in ``window``."""
    while window.is_open:
        for job in window.arrivals():
            add_row(engine, job.name, bench.subject.checkpoint, job.params)
        if engine.is_idle:
            time.sleep(0.001)
        _step(engine, window)
    wait(bench.device)
    return window.close().outcome(bench, watch)


def _step(engine: Engine, window: Window) -> None:
    """Take one step of the engine and record its events."""
    for event in engine.step():
        if isinstance(event, Progressed):
            window.run.steps += 1
        elif isinstance(event, Finished) and event.row_id in window.run.arrived:
            window.run.finished[event.row_id] = window.now_s
        elif isinstance(event, Failed):
            window.run.failures.append(f"{event.row_id}: {event.failure}")


def fill(bench: Bench, engine: Engine, rows: int, steps: int | None = None) -> None:
    """Add ``rows`` jobs of ``steps`` each, or of increasing length, and step the engine until all run.

    Raises:
        TimeoutError: not all run within :data:`WARM_UP_S`.
    """
    until, begun = time.monotonic() + WARM_UP_S, set[str]()
    for number in range(rows):
        own = steps or max(3, round((number + 1) * bench.mean_steps / rows))
        add_row(engine, f"fill {number}", bench.subject.checkpoint, bench.params(number, own))
    while len(begun) < rows and not engine.is_idle:
        for event in engine.step():
            if isinstance(event, Failed):
                raise event.failure
            if isinstance(event, Progressed):
                begun.add(event.row_id)
        if time.monotonic() > until:
            raise TimeoutError(f"only {len(begun)} of {rows} rows run after {WARM_UP_S:.0f} s")


def plain_way(bench: Bench, rows: int, window_s: float) -> Outcome:
    """Serve with the plain pipeline, in static batches of up to ``rows`` jobs with the oldest job's sampler and steps.

    The window is extended to the end of the last call.
    """
    checkpoint, watch = bench.subject.checkpoint, Watch(bench.device)
    pipeline = pipeline_of(checkpoint)
    size = {"width": bench.subject.px, "height": bench.subject.px}
    call(pipeline, checkpoint, [bench.params(0, 3)] * rows, **size)
    with watch.on(pipeline):
        window, queue = Window(bench, watch, window_s), list[Job]()
        while window.is_open:
            queue += window.arrivals()
            if not queue:
                time.sleep(0.001)
                continue
            batch = [job for job in queue if _kind(job) == _kind(queue[0])][:rows]
            call(pipeline, checkpoint, [job.params for job in batch], **size)
            queue = [job for job in queue if job not in batch]
            window.run.finished |= {job.name: window.now_s for job in batch}
            window.run.steps += sum(job.params.num_inference_steps for job in batch)
        run = window.close()
    return run.outcome(bench, watch)


def _kind(job: Job) -> tuple[str, int]:
    return job.params.sampler, job.params.num_inference_steps


def equal_jobs(bench: Bench, rows: int, window_s: float) -> Outcome:
    """Measure the plain pipeline with full batches of equal jobs, the best case for static batches."""
    checkpoint, pipeline = bench.subject.checkpoint, pipeline_of(bench.subject.checkpoint)
    size = {"width": bench.subject.px, "height": bench.subject.px}
    call(pipeline, checkpoint, [bench.params(0, 3)] * rows, **size)
    began_at, images = time.perf_counter(), 0
    while time.perf_counter() - began_at < window_s and images < WHOLE_JOBS * rows:
        call(pipeline, checkpoint, [bench.params(0, round(bench.mean_steps))] * rows, **size)
        images += rows
    return Outcome(None, {"images_per_s": images / (time.perf_counter() - began_at), "images": images})
