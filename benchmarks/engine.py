"""Compares three ways to serve the same jobs with the same weights, on each backend: ``python -m benchmarks.engine``.

- one by one: each job is a call of the plain diffusers pipeline, first come, first served;
- static batches: jobs that have arrived and have equal sampler and steps share one call of the plain pipeline;
- continuous: the engine, where jobs join and leave at every step.

With another backend than eager, the plain pipeline calls that backend in the place of its UNet. The clock is the real
one: jobs arrive on a fixed schedule, a way that has nothing to do sleeps until the next arrival, and a job's latency
runs from its arrival to its decoded image. Under load, jobs come several times as fast as one by one can draw them;
at low load, one comes in the time that one by one takes for two. All ways draw the same images, which is checked;
previews are off. Run it on a machine that does nothing else, and read the ratios.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from models.catalog.catalog import Catalog, ModelSpec, house_spec
from models.catalog.families import SDXL, TXT2IMG
from models.diffusion import events
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.denoiser import Conditioning
from models.diffusion.engine import Engine
from models.diffusion.sampling import build_scheduler
from models.diffusion.work import Task
from models.jobs.params import DrawParams

SHORT_STEPS = 15
PROMPTS = ("a red apple", "a cat", "a sailing boat", "a house", "a blue car", "a green tree")
MIXED_SAMPLERS = ("DPM++ 2M", "Euler a", "DDIM", "DPM++ 2M Karras")


@dataclass(frozen=True)
class Job:
    """One image that somebody asks for, ``arrival_s`` after the start."""

    params: DrawParams
    arrival_s: float


@dataclass(frozen=True)
class Finished:
    """A job's image, and when it was there, in seconds after the start."""

    job: Job
    image: Image
    finished_s: float

    @property
    def latency_s(self) -> float:
        """From arrival to image."""
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
    """The largest difference of any pixel to the one-by-one image, of 255."""


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


Way = Callable[[Sequence[Job], Checkpoint], Iterator[Finished]]
"""Takes the jobs in order of arrival, and the model."""
STATIC_ROWS = 8


def one_by_one(jobs: Sequence[Job], checkpoint: Checkpoint) -> Iterator[Finished]:
    """The plain pipeline, one job after the other."""
    return static_batches(jobs, checkpoint, 1)


def static_batches(jobs: Sequence[Job], checkpoint: Checkpoint, rows: int = STATIC_ROWS) -> Iterator[Finished]:
    """The plain pipeline; the oldest job takes along all that have arrived with its sampler and steps."""
    clock, queue, pipeline = Clock(), list(jobs), plain_pipeline(checkpoint)
    own_schedule = checkpoint.pipeline.scheduler.config
    while queue:
        clock.sleep_until(queue[0].arrival_s)
        now = clock.now()
        batch = [job for job in queue if job.arrival_s <= now and kind(job) == kind(queue[0])][:rows]
        images = call(pipeline, own_schedule, [job.params for job in batch])
        finished_s = clock.now()
        queue = [job for job in queue if job not in batch]
        yield from (Finished(job, image, finished_s) for job, image in zip(batch, images, strict=True))


def continuous(jobs: Sequence[Job], checkpoint: Checkpoint, capacity: Capacity | None = None) -> Iterator[Finished]:
    """The engine, as a worker sets it up: the target batch size is measured before the first job."""
    engine = Engine(lambda spec: checkpoint, device=checkpoint.device, capacity=capacity, preview_every=0)
    calibrate(engine.load(checkpoint.spec), engine.capacity)
    clock, queue = Clock(), list(jobs)
    by_id = {str(job.params.seed): job for job in jobs}
    catalog = Catalog({checkpoint.spec.name: checkpoint.spec})
    while queue or not engine.is_idle:
        if engine.is_idle:
            clock.sleep_until(queue[0].arrival_s)
        while queue and queue[0].arrival_s <= clock.now():
            params = queue.pop(0).params
            engine.add_row(str(params.seed), Task(kind=TXT2IMG, params=params, catalog=catalog, images={}))
        for event in engine.step():
            if isinstance(event, events.Failed):
                raise event.failure
            if isinstance(event, events.Finished):
                assert isinstance(event.result, Image)
                yield Finished(by_id[event.row_id], event.result, clock.now())
    engine.close()


WAYS: dict[str, Way] = {"one by one": one_by_one, "static batches": static_batches, "continuous": continuous}


def kind(job: Job) -> tuple[str, int]:
    """What jobs must have in common to share a call of the plain pipeline."""
    return job.params.sampler, job.params.num_inference_steps


class AsUNet:
    """A backend in the place of a plain pipeline's UNet."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._unet, self._denoiser = checkpoint.pipeline.unet, checkpoint.denoiser

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unet, name)

    def __call__(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        added_cond_kwargs: Mapping[str, torch.Tensor] | None = None,
        **_: object,
    ) -> tuple[torch.Tensor]:
        """As ``UNet2DConditionModel``, for a pipeline that conditions on text alone."""
        timesteps = timestep.float().expand(len(latents)).to(latents.device)
        conditioning = Conditioning(encoder_hidden_states, None, added_cond_kwargs or {})
        return (self._denoiser.denoise(latents, timesteps, conditioning),)


def plain_pipeline(checkpoint: Checkpoint) -> Any:
    """A pipeline of its own, so that its scheduler may be set, on the checkpoint's weights and backend."""
    shared: Any = checkpoint.pipeline
    quiet = "add_watermarker" if checkpoint.spec.family == SDXL else "requires_safety_checker"
    pipeline = type(shared)(**shared.components, **{quiet: False})
    pipeline.set_progress_bar_config(disable=True)
    if checkpoint.denoiser is not checkpoint.eager:
        pipeline.unet = AsUNet(checkpoint)
    return pipeline


@torch.inference_mode()
def call(pipeline: Any, schedule: Mapping[str, Any], batch: Sequence[DrawParams]) -> list[Image]:
    """One call of the plain pipeline for all of ``batch``, each with a generator of its own."""
    first = batch[0]
    pipeline.scheduler = build_scheduler(first.sampler, schedule, first.seed)
    images: list[Image] = pipeline(
        [params.prompt for params in batch],
        negative_prompt=[params.negative_prompt for params in batch],
        num_inference_steps=first.num_inference_steps,
        guidance_scale=first.guidance_scale,
        width=first.width,
        height=first.height,
        generator=[torch.Generator().manual_seed(params.seed) for params in batch],
    ).images
    return images


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
    pipeline, seconds = plain_pipeline(checkpoint), []
    for _ in range(4):
        clock = Clock()
        call(pipeline, checkpoint.pipeline.scheduler.config, [job.params])
        seconds.append(clock.now() * 20 / job.params.num_inference_steps)
    return min(seconds)


def figures(way: str, finished: Sequence[Finished], reference: Sequence[Finished]) -> Figures:
    """The figures of one run; p95 by the nearest rank."""
    latencies = sorted(each.latency_s for each in finished)
    short = [each.latency_s for each in finished if each.job.params.num_inference_steps <= SHORT_STEPS]
    expected = {each.job: np.asarray(each.image).astype(int) for each in reference}
    return Figures(
        way=way,
        images_per_s=len(finished) / max(each.finished_s for each in finished),
        mean_latency_s=statistics.mean(latencies),
        p95_latency_s=latencies[-(-95 * len(latencies) // 100) - 1],
        short_latency_s=statistics.mean(short) if short else float("nan"),
        off_by=max(int(np.abs(np.asarray(each.image) - expected[each.job]).max()) for each in finished),
    )


def table(results: Sequence[Figures], base: Figures) -> str:
    """Rows of a markdown table; in brackets, how many times better than ``base``."""
    lines = []
    for each in results:
        cells = [
            f"{each.images_per_s:.2f} ({each.images_per_s / base.images_per_s:.2f}x)",
            f"{each.mean_latency_s:.2f} ({each.mean_latency_s / base.mean_latency_s:.2f}x)",
            f"{each.p95_latency_s:.2f} ({each.p95_latency_s / base.p95_latency_s:.2f}x)",
            f"{each.short_latency_s:.2f} ({each.short_latency_s / base.short_latency_s:.2f}x)",
            f"{each.off_by}/255",
        ]
        lines.append(f"| {each.way} | {' | '.join(cells)} |")
    return "\n".join(lines)


HEADER = f"""| | images/s | mean latency, s | p95, s | jobs of <= {SHORT_STEPS} steps, s | pixels off by |
|---|---|---|---|---|---|"""


def measure(jobs: Sequence[Job], checkpoint: Checkpoint, ways: Sequence[str], repeats: int) -> list[Figures]:
    """Each way's run of median throughput; the ways take turns, so that a slow minute does not hit one alone."""
    runs: dict[str, list[Figures]] = {name: [] for name in ways}
    for _ in range(repeats):
        finished = {name: list(WAYS[name](jobs, checkpoint)) for name in ways}
        for name in ways:
            runs[name].append(figures(name, finished[name], finished[ways[0]]))
    return [sorted(each, key=lambda run: run.mean_latency_s)[repeats // 2] for each in runs.values()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-folder", type=Path, help="a diffusers folder; by default the built-in model")
    parser.add_argument("--px", type=int, help="the side of the images; by default the model's own")
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--load", type=float, default=6.0, help="jobs that come in the time of one, on eager")
    parser.add_argument("--backends", default="eager,openvino")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cache", type=Path, default=Path("build/backends"))
    options = parser.parse_args()
    spec, device = chosen_spec(options.model_folder, options.px), torch.device(options.device)
    checkpoints = {
        backend: load_checkpoint(spec, device, backend=backend, cache=options.cache)
        for backend in options.backends.split(",")
    }
    alone_s = {backend: time_alone(checkpoint) for backend, checkpoint in checkpoints.items()}
    print(f"{spec.name}, {device}, {torch.get_num_threads()} threads; 20 steps alone: {_seconds(alone_s)}\n")
    first = next(iter(checkpoints))
    for samplers in (MIXED_SAMPLERS[:1], MIXED_SAMPLERS):
        under_load(checkpoints, samplers, options.jobs, alone_s[first] / options.load, options.repeats)
    for backend, checkpoint in checkpoints.items():
        at_low_load(backend, checkpoint, options.jobs, 2 * alone_s[backend], options.repeats)


def under_load(
    checkpoints: Mapping[str, Checkpoint], samplers: Sequence[str], count: int, gap_s: float, repeats: int
) -> None:
    """Print the table of all ways on all backends; the base is one by one on the first."""
    print(f"Under load: {count} jobs, one every {gap_s:.3f} s, {len(samplers)} sampler(s)\n\n{HEADER}")
    base: Figures | None = None
    for backend, checkpoint in checkpoints.items():
        jobs = make_jobs(checkpoint.spec, count, gap_s, samplers)
        results = measure(jobs, checkpoint, list(WAYS), repeats)
        base = base or results[0]
        print(table([replace(each, way=f"{backend}: {each.way}") for each in results], base), flush=True)
    print()


def at_low_load(backend: str, checkpoint: Checkpoint, count: int, gap_s: float, repeats: int) -> None:
    """Print how the engine compares with one by one where there is hardly a queue."""
    print(f"At low load, {backend}: one job every {gap_s:.3f} s\n\n{HEADER}")
    jobs = make_jobs(checkpoint.spec, count, gap_s, MIXED_SAMPLERS)
    results = measure(jobs, checkpoint, ["one by one", "continuous"], repeats)
    print(table(results, results[0]), "\n", flush=True)


def _seconds(each: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.3f} s" for name, seconds in each.items())


def chosen_spec(folder: Path | None, px: int | None) -> ModelSpec:
    """The built-in model, or the one in ``folder``."""
    spec = house_spec() if folder is None else ModelSpec(name=folder.name, family="stable-diffusion", folder=folder)
    if px is None:
        return spec
    return replace(spec, native_px=None, defaults=replace(spec.defaults, width=px, height=px))


if __name__ == "__main__":
    main()
