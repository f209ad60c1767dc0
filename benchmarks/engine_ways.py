"""The jobs of the benchmark of the engine, and the ways in which they can be served.

- one by one: each job is a call of the plain diffusers pipeline, first come, first served;
- static batches: jobs that have arrived and have equal sampler and steps share one call of the plain pipeline;
- continuous: the engine, where jobs join and leave at every step;
- alone: the engine, where a job begins when the one before it has ended.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL.Image import Image

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import SDXL, TXT2IMG
from models.diffusion import events
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
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
    yield from _through(engine, jobs, checkpoint.spec, Clock())
    engine.close()


def alone(jobs: Sequence[Job], checkpoint: Checkpoint) -> Iterator[Finished]:
    """The engine, which gets each job when the one before it has ended, whenever they arrive."""
    engine, clock = Engine(lambda spec: checkpoint, device=checkpoint.device, preview_every=0), Clock()
    for job in jobs:
        yield from _through(engine, [replace(job, arrival_s=0.0)], checkpoint.spec, clock)
    engine.close()


def _through(engine: Engine, jobs: Sequence[Job], spec: ModelSpec, clock: Clock) -> Iterator[Finished]:
    """The images of ``jobs``, each of which is given to ``engine`` at its arrival."""
    queue, by_id = list(jobs), {str(job.params.seed): job for job in jobs}
    catalog = Catalog({spec.name: spec})
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
