"""Compares three ways to serve the same jobs with the same weights: ``python -m benchmarks.engine``.

- one by one: each job is a call of the plain diffusers pipeline, first come, first served;
- static batches: jobs that have arrived and have equal sampler and steps share one call of the plain pipeline;
- continuous: the engine, where jobs join and leave at every step.

The clock is the real one: jobs arrive on a fixed schedule, a way that has nothing to do sleeps until the next arrival,
and a job's latency runs from its arrival to its decoded picture. The default schedule sends three jobs in the time that
one takes alone, so that a queue forms. All ways draw the same pictures, which is checked; previews are off. Run it on a
machine that does nothing else, and read the ratios.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from models.catalog import ModelSpec, house_spec
from models.diffusion.checkpoint import Checkpoint, load_checkpoint
from models.diffusion.engine import Engine
from models.diffusion.events import Drawn, Failed
from models.diffusion.sampling import build_scheduler
from models.params import DrawParams

SHORT_STEPS = 15
PROMPTS = ("a red apple", "a cat", "a sailing boat", "a house", "a blue car", "a green tree")
MIXED_SAMPLERS = ("DPM++ 2M", "Euler a", "DDIM", "DPM++ 2M Karras")


@dataclass(frozen=True)
class Job:
    """One picture that somebody asks for, ``arrival_s`` after the start."""

    params: DrawParams
    arrival_s: float


@dataclass(frozen=True)
class Finished:
    """A job's picture, and when it was there, in seconds after the start."""

    job: Job
    picture: Image
    finished_s: float

    @property
    def latency_s(self) -> float:
        """From arrival to picture."""
        return self.finished_s - self.job.arrival_s


@dataclass(frozen=True)
class Figures:
    """What one way achieved."""

    way: str
    images_per_s: float
    mean_latency_s: float
    p95_latency_s: float
    short_latency_s: float
    """The mean latency of jobs of at most ``SHORT_STEPS`` steps."""
    off_by: int
    """The largest difference of any pixel to the one-by-one picture, of 255."""


class Clock:
    """Seconds since the start of one way's run."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def now(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    def sleep_until(self, moment_s: float) -> None:
        """Return at once if the moment is past."""
        time.sleep(max(0.0, moment_s - self.now()))


Way = Callable[[Sequence[Job], Checkpoint, int], Iterator[Finished]]
"""Takes the jobs in order of arrival, the model, and how many rows may be drawn at once."""


def one_by_one(jobs: Sequence[Job], checkpoint: Checkpoint, rows: int) -> Iterator[Finished]:
    """The plain pipeline, one job after the other."""
    return static_batches(jobs, checkpoint, 1)


def static_batches(jobs: Sequence[Job], checkpoint: Checkpoint, rows: int) -> Iterator[Finished]:
    """The plain pipeline; the oldest job takes along all that have arrived with its sampler and steps."""
    clock, queue, pipeline = Clock(), list(jobs), plain_pipeline(checkpoint)
    while queue:
        clock.sleep_until(queue[0].arrival_s)
        now = clock.now()
        batch = [job for job in queue if job.arrival_s <= now and kind(job) == kind(queue[0])][:rows]
        pictures = call(pipeline, checkpoint, [job.params for job in batch])
        finished_s = clock.now()
        queue = [job for job in queue if job not in batch]
        yield from (Finished(job, picture, finished_s) for job, picture in zip(batch, pictures, strict=True))


def continuous(jobs: Sequence[Job], checkpoint: Checkpoint, rows: int) -> Iterator[Finished]:
    """The engine."""
    clock, queue = Clock(), list(jobs)
    engine = Engine(lambda spec: checkpoint, row_limit=rows, preview_every=0)
    by_id = {str(job.params.seed): job for job in jobs}
    while queue or not engine.is_idle:
        if engine.is_idle:
            clock.sleep_until(queue[0].arrival_s)
        while queue and queue[0].arrival_s <= clock.now():
            job = queue.pop(0)
            engine.join(str(job.params.seed), job.params, checkpoint.spec)
        for event in engine.tick():
            if isinstance(event, Failed):
                raise event.failure
            if isinstance(event, Drawn):
                yield Finished(by_id[event.row_id], event.picture, clock.now())


WAYS: dict[str, Way] = {"one by one": one_by_one, "static batches": static_batches, "continuous": continuous}


def kind(job: Job) -> tuple[str, int]:
    """What jobs must have in common to share a call of the plain pipeline."""
    return job.params.sampler, job.params.num_inference_steps


def plain_pipeline(checkpoint: Checkpoint) -> Any:
    """A pipeline of its own, so that its scheduler may be set, on the checkpoint's weights."""
    shared: Any = checkpoint.pipeline
    pipeline = type(shared)(**shared.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def call(pipeline: Any, checkpoint: Checkpoint, batch: Sequence[DrawParams]) -> list[Image]:
    """One call of the plain pipeline for all of ``batch``, each with a generator of its own."""
    first = batch[0]
    pipeline.scheduler = build_scheduler(first.sampler, checkpoint.pipeline.scheduler.config)
    pictures: list[Image] = pipeline(
        [params.prompt for params in batch],
        negative_prompt=[params.negative_prompt for params in batch],
        num_inference_steps=first.num_inference_steps,
        guidance_scale=first.guidance_scale,
        width=first.width,
        height=first.height,
        generator=[torch.Generator().manual_seed(params.seed) for params in batch],
    ).images
    return pictures


def make_jobs(spec: ModelSpec, count: int, gap_s: float, samplers: Sequence[str]) -> list[Job]:
    """``count`` jobs of 10 to 30 steps, one every ``gap_s`` seconds; always the same ones."""
    rng, defaults = random.Random(0), spec.defaults
    width, height = spec.drawn_size(defaults.width, defaults.height)
    return [
        Job(
            DrawParams(
                prompt=PROMPTS[number % len(PROMPTS)],
                negative_prompt="",
                model=spec.name,
                sampler=samplers[number % len(samplers)],
                num_inference_steps=rng.randint(10, 30),
                guidance_scale=defaults.guidance_scale,
                seed=number,
                width=width,
                height=height,
            ),
            number * gap_s,
        )
        for number in range(count)
    ]


def time_alone(checkpoint: Checkpoint) -> float:
    """Seconds that one 20-step job takes in the plain pipeline, when warm."""
    (job,) = make_jobs(checkpoint.spec, 1, 0.0, MIXED_SAMPLERS)
    pipeline, seconds = plain_pipeline(checkpoint), 0.0
    for _ in range(2):
        clock = Clock()
        call(pipeline, checkpoint, [job.params])
        seconds = clock.now() * 20 / job.params.num_inference_steps
    return seconds


def figures(way: str, finished: Sequence[Finished], reference: Sequence[Finished]) -> Figures:
    """The figures of one run; p95 by the nearest rank."""
    latencies = sorted(each.latency_s for each in finished)
    short = [each.latency_s for each in finished if each.job.params.num_inference_steps <= SHORT_STEPS]
    expected = {each.job: np.asarray(each.picture).astype(int) for each in reference}
    return Figures(
        way=way,
        images_per_s=len(finished) / max(each.finished_s for each in finished),
        mean_latency_s=statistics.mean(latencies),
        p95_latency_s=latencies[-(-95 * len(latencies) // 100) - 1],
        short_latency_s=statistics.mean(short) if short else float("nan"),
        off_by=max(int(np.abs(np.asarray(each.picture) - expected[each.job]).max()) for each in finished),
    )


def table(results: Sequence[Figures]) -> str:
    """A markdown table; in brackets, how many times better than one by one."""
    base = results[0]
    lines = [
        f"| | images/s | mean latency, s | p95, s | jobs of <= {SHORT_STEPS} steps, s | pixels off by |",
        "|---|---|---|---|---|---|",
    ]
    for each in results:
        cells = [
            f"{each.images_per_s:.2f} ({each.images_per_s / base.images_per_s:.2f}x)",
            f"{each.mean_latency_s:.2f} ({base.mean_latency_s / each.mean_latency_s:.2f}x)",
            f"{each.p95_latency_s:.2f} ({base.p95_latency_s / each.p95_latency_s:.2f}x)",
            f"{each.short_latency_s:.2f} ({base.short_latency_s / each.short_latency_s:.2f}x)",
            f"{each.off_by}/255",
        ]
        lines.append(f"| {each.way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(jobs: Sequence[Job], checkpoint: Checkpoint, rows: int, repeats: int) -> list[Figures]:
    """Each way's run of median throughput; the ways take turns, so that a slow minute does not hit one alone."""
    runs: dict[str, list[Figures]] = {name: [] for name in WAYS}
    for _ in range(repeats):
        finished = {name: list(way(jobs, checkpoint, rows)) for name, way in WAYS.items()}
        for name in WAYS:
            runs[name].append(figures(name, finished[name], finished["one by one"]))
    return [sorted(each, key=lambda run: run.images_per_s)[repeats // 2] for each in runs.values()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-folder", type=Path, help="a diffusers folder; by default the built-in model")
    parser.add_argument("--px", type=int, help="the side of the pictures; by default the model's own")
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--rows", type=int, default=8, help="how many rows are drawn at once")
    parser.add_argument("--gap-s", type=float, help="seconds between arrivals; by default a third of a job's own time")
    parser.add_argument("--mixed-samplers", action="store_true", help="four samplers in turn instead of one")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    checkpoint = load_checkpoint(chosen_spec(options.model_folder, options.px), torch.device(options.device))
    gap_s = options.gap_s if options.gap_s is not None else time_alone(checkpoint) / 3
    samplers = MIXED_SAMPLERS if options.mixed_samplers else MIXED_SAMPLERS[:1]
    jobs = make_jobs(checkpoint.spec, options.jobs, gap_s, samplers)
    results = measure(jobs, checkpoint, options.rows, options.repeats)
    print(table(results))
    setting = {"model": checkpoint.spec.source, "device": options.device, "threads": torch.get_num_threads(),
               "jobs": options.jobs, "rows": options.rows, "gap_s": round(gap_s, 3), "samplers": samplers}  # fmt: skip
    print(json.dumps({**setting, "results": [asdict(each) for each in results]}))


def chosen_spec(folder: Path | None, px: int | None) -> ModelSpec:
    """The built-in model, or the one in ``folder``."""
    spec = house_spec() if folder is None else ModelSpec(name=folder.name, family="stable-diffusion", folder=folder)
    if px is None:
        return spec
    return replace(spec, native_px=None, defaults=replace(spec.defaults, width=px, height=px))


if __name__ == "__main__":
    main()
