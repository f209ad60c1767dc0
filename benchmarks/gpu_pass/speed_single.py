"""Measurements of single jobs and steps: one job alone, a late job's first step, and the kernels of an engine step."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_pass.driving import Ended, drive
from benchmarks.gpu_pass.plain import pipeline_of
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.spans import wait
from benchmarks.gpu_pass.speed_bench import Bench, plain_seconds
from benchmarks.gpu_pass.speed_ways import fill
from benchmarks.gpu_pass.surface import Engine, Progressed, add_row, open_engine

LONG = 400
"""The number of steps of jobs that must not end during a measurement."""
WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def alone(bench: Bench, window_s: float, compiled: Sequence[int] = ()) -> Outcome:
    """Compare one job on an idle engine with one call of the plain pipeline, in turns; the medians count.

    Args:
        compiled: the sizes of batches for which the engine's UNet is compiled; none for the eager UNet.
    """
    checkpoint, params = bench.subject.checkpoint, bench.params(3, round(bench.mean_steps))
    pipeline = pipeline_of(checkpoint)
    seconds: dict[str, list[float]] = {"plain": [], "engine": []}
    denoiser, compiling_s = bench.compiled(compiled) if compiled else (None, 0.0)
    with open_engine(checkpoint, 16, denoiser=denoiser) as engine:
        until = float("inf")
        while not seconds["engine"] or time.perf_counter() < until:
            plain_s, engine_s = plain_seconds(bench, params, pipeline), _engine_seconds(bench, engine)
            if until == float("inf"):
                until = time.perf_counter() + window_s  # the first turn is the warm-up
                continue
            seconds["plain"].append(plain_s)
            seconds["engine"].append(engine_s)
    plain_s, engine_s = (statistics.median(seconds[name]) for name in ("plain", "engine"))
    figures = {"plain_s": plain_s, "engine_s": engine_s, "ratio": engine_s / plain_s, "turns": len(seconds["plain"])}
    return Outcome(None, figures | ({"compiling_s": compiling_s} if compiled else {}))


def _engine_seconds(bench: Bench, engine: Engine) -> float:
    """The seconds from adding a row to its image."""
    wait(bench.device)
    began_at = time.perf_counter()
    add_row(engine, "alone", bench.subject.checkpoint, bench.params(3, round(bench.mean_steps)))
    ended = drive(engine, Ended())
    assert "alone" in ended.images, ended.failures
    return time.perf_counter() - began_at


def first_step(bench: Bench, times: int, running: int = 15) -> Outcome:
    """Measure how long a row beside ``running`` others takes to its first step, and an engine step without the row."""
    firsts, steps = [], []
    with open_engine(bench.subject.checkpoint, running + 1) as engine:
        fill(bench, engine, running, steps=LONG)
        for number in range(times):
            began_at = time.perf_counter()
            engine.step()
            steps.append(time.perf_counter() - began_at)
            firsts.append(_first_step_s(bench, engine, number))
    figures = {
        "median_s": statistics.median(firsts), "worst_s": max(firsts), "step_s": statistics.median(steps),
        "times": times, "running": running,
    }  # fmt: skip
    return Outcome(None, figures)


def _first_step_s(bench: Bench, engine: Engine, number: int) -> float:
    """The seconds until a new row with a new prompt reports its first step; it is canceled then."""
    name = f"late job {number}"
    params = bench.subject.params(prompt=f"{name} at the sea", seed=number, num_inference_steps=20)
    began_at = time.perf_counter()
    add_row(engine, name, bench.subject.checkpoint, params)
    while True:
        for event in engine.step():
            if isinstance(event, Progressed) and event.row_id == name:
                engine.cancel_row(name)
                return time.perf_counter() - began_at


def profiled(bench: Bench, rows: int, steps: int) -> Outcome:
    """Profile some steps of a full engine: kernels, copies, waits, and the share of the time in which kernels run."""
    is_cuda = bench.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    with open_engine(bench.subject.checkpoint, rows) as engine:
        fill(bench, engine, rows, steps=LONG)
        wait(bench.device)
        with profile(activities=activities) as trace:
            began_at = time.perf_counter()
            for _ in range(steps):
                engine.step()
            wait(bench.device)
            whole_s = time.perf_counter() - began_at
    return Outcome(None, {"step_ms": whole_s / steps * 1000, **_counts(trace, steps, whole_s)})


def _counts(trace: Any, steps: int, whole_s: float) -> dict[str, Any]:
    """Counts for each step, and the kernels' share of the time; kernels do not overlap, because there is one stream."""
    on_device = [each for each in trace.events() if str(each.device_type).endswith("CUDA")]
    busy_us: Counter[str] = Counter()
    for each in on_device:
        busy_us[each.name[:60]] += each.time_range.elapsed_us()
    copies = [each for each in on_device if each.name.startswith("Memcpy")]
    waits = [each for each in trace.events() if each.name in WAITING]
    return {
        "kernel_share": sum(busy_us.values()) / 1e6 / whole_s,
        "kernels": (len(on_device) - len(copies)) / steps,
        "copies": len(copies) / steps,
        "waits": len(waits) / steps,
        "top_ms": {name: us / 1000 / steps for name, us in busy_us.most_common(10)},
    }


def compiled_forward(bench: Bench, images: int) -> Outcome:
    """Compare the forward with compiled blocks with the eager one, and measure compiling."""
    figures: dict[str, Any] = {"eager_ms": bench.measure_forward(images) * 1000}
    denoiser, figures["compiling_s"] = bench.compiled((2 * images,))
    figures["compiled_ms"] = bench.measure_forward(images, denoiser) * 1000
    return Outcome(None, figures)
