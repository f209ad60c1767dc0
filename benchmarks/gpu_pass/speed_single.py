"""Measurements of single jobs and single ticks: one job alone, a newcomer's first step, and what a tick consists of."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_pass.driving import Ended, drive
from benchmarks.gpu_pass.law_backends import without_own_limit
from benchmarks.gpu_pass.plain import pipeline_of
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.running import told
from benchmarks.gpu_pass.spans import wait
from benchmarks.gpu_pass.speed_bench import Bench, plain_seconds
from benchmarks.gpu_pass.speed_ways import fill
from benchmarks.gpu_pass.surface import CompiledDenoiser, Engine, Progressed, join, open_engine

LONG = 400
"""Steps of jobs that are to outlast a measurement."""
WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def alone(bench: Bench, window_s: float) -> Outcome:
    """One job on an idle engine against one call of the plain pipeline, by turns; the medians."""
    checkpoint, params = bench.subject.checkpoint, bench.params(3, round(bench.mean_steps))
    pipeline = pipeline_of(checkpoint)
    seconds: dict[str, list[float]] = {"plain": [], "engine": []}
    with open_engine(checkpoint, 16) as engine:
        until = float("inf")
        while not seconds["engine"] or time.perf_counter() < until:
            plain_s, engine_s = plain_seconds(bench, params, pipeline), _engine_seconds(bench, engine)
            if until == float("inf"):
                until = time.perf_counter() + window_s  # the first turn was to warm up
                continue
            seconds["plain"].append(plain_s)
            seconds["engine"].append(engine_s)
    plain_s, engine_s = (statistics.median(seconds[name]) for name in ("plain", "engine"))
    figures = {"plain_s": plain_s, "engine_s": engine_s, "ratio": engine_s / plain_s, "turns": len(seconds["plain"])}
    return Outcome(None, figures)


def _engine_seconds(bench: Bench, engine: Engine) -> float:
    """Seconds from joining to the image."""
    wait(bench.device)
    began_at = time.perf_counter()
    join(engine, "alone", bench.subject.checkpoint, bench.params(3, round(bench.mean_steps)))
    ended = drive(engine, Ended())
    assert "alone" in ended.images, ended.failures
    return time.perf_counter() - began_at


def newcomer(bench: Bench, times: int, running: int = 15) -> Outcome:
    """From joining beside ``running`` others to the end of the first step, several times; and a tick without it."""
    firsts, ticks = [], []
    with open_engine(bench.subject.checkpoint, running + 1) as engine:
        fill(bench, engine, running, steps=LONG)
        for number in range(times):
            began_at = time.perf_counter()
            engine.tick()
            ticks.append(time.perf_counter() - began_at)
            firsts.append(_first_step_s(bench, engine, number))
    figures = {
        "median_s": statistics.median(firsts), "worst_s": max(firsts), "tick_s": statistics.median(ticks),
        "times": times, "running": running,
    }  # fmt: skip
    return Outcome(None, figures)


def _first_step_s(bench: Bench, engine: Engine, number: int) -> float:
    """Seconds until the newcomer's first step is told; it leaves then. Its prompt is a new one."""
    name = f"newcomer {number}"
    params = bench.subject.params(prompt=f"{name} at the sea", seed=number, num_inference_steps=20)
    began_at = time.perf_counter()
    join(engine, name, bench.subject.checkpoint, params)
    while True:
        for event in engine.tick():
            if isinstance(event, Progressed) and event.row_id == name:
                engine.leave(name)
                return time.perf_counter() - began_at


def profiled(bench: Bench, rows: int, ticks: int) -> Outcome:
    """What some ticks of a full engine consist of: kernels, copies and waits, and how much of the time kernels run."""
    is_cuda = bench.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    with open_engine(bench.subject.checkpoint, rows) as engine:
        fill(bench, engine, rows, steps=LONG)
        wait(bench.device)
        with profile(activities=activities) as trace:
            began_at = time.perf_counter()
            for _ in range(ticks):
                engine.tick()
            wait(bench.device)
            whole_s = time.perf_counter() - began_at
    return Outcome(None, {"tick_ms": whole_s / ticks * 1000, **_counts(trace, ticks, whole_s)})


def _counts(trace: Any, ticks: int, whole_s: float) -> dict[str, Any]:
    """Per tick, but for the shares; one stream does all work, so that kernels do not overlap."""
    on_device = [each for each in trace.events() if str(each.device_type).endswith("CUDA")]
    busy_us: Counter[str] = Counter()
    for each in on_device:
        busy_us[each.name[:60]] += each.time_range.elapsed_us()
    copies = [each for each in on_device if each.name.startswith("Memcpy")]
    waits = [each for each in trace.events() if each.name in WAITING]
    return {
        "kernel_share": sum(busy_us.values()) / 1e6 / whole_s,
        "kernels": (len(on_device) - len(copies)) / ticks,
        "copies": len(copies) / ticks,
        "waits": len(waits) / ticks,
        "top_ms": {name: us / 1000 / ticks for name, us in busy_us.most_common(10)},
    }


def compiled_forward(bench: Bench, images: int) -> Outcome:
    """The forward with compiled blocks against the eager one, and how long compiling takes."""
    unet: Any = bench.subject.checkpoint.pipeline.unet
    figures: dict[str, Any] = {"eager_ms": bench.measure_forward(images) * 1000}
    detail = ""
    try:
        denoiser = CompiledDenoiser(unet, fixed_shapes=True)
    except TypeError as error:
        detail = f"as the service opens it: {told(error)}"
        with without_own_limit():
            denoiser = CompiledDenoiser(unet, fixed_shapes=True)
    began_at = time.perf_counter()
    bench.measure_forward(images, denoiser, repeats=1)
    figures["compiling_s"] = time.perf_counter() - began_at
    figures["compiled_ms"] = bench.measure_forward(images, denoiser) * 1000
    torch._dynamo.reset()
    return Outcome(None, figures, detail)
