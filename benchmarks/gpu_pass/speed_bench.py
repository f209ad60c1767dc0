"""The state that all measurements of one model share: the checkpoint, its jobs and its forward times."""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.gpu_pass.plain import call, pipeline_of
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.spans import wait
from benchmarks.gpu_pass.subjects import PROMPTS, Subject
from benchmarks.gpu_pass.surface import CompiledDenoiser, Denoiser, DrawParams, InputShape, seeded_inputs

MIXED_SAMPLERS = ("DPM++ 2M", "Euler a", "DDIM", "DPM++ 2M Karras")
BATCHES = (1, 4, 8, 16)
TOKENS = 77
"""The length of a prompt of one chunk."""
OVERLOAD = 1.3
"""The arrival rate, relative to the rate of sixteen rows at once if only forwards took time."""
BURST = 8
"""The number of jobs that are there at the start, so that every measurement starts with full batches."""


@dataclass(frozen=True)
class Job:
    """One job that arrives ``arrival_s`` after the start."""

    name: str
    params: DrawParams
    arrival_s: float


@dataclass
class Bench:
    """One model and the measurements that later ones need."""

    subject: Subject
    steps: tuple[int, int]
    """The fewest and the most steps of a job."""
    forward_s: dict[int, float] = field(default_factory=dict)
    """The seconds of a forward, by the number of guided images in it."""
    full_rate: float | None = None
    """Images/s of the engine with sixteen rows, if it has been measured."""
    _compiled: CompiledDenoiser | None = None

    @property
    def device(self) -> torch.device:
        return self.subject.checkpoint.device

    def compiled(self, sizes: Sequence[int]) -> tuple[CompiledDenoiser, float]:
        """The UNet with compiled blocks for batches of ``sizes`` inputs, and the seconds that compiling took now."""
        pipeline: Any = self.subject.checkpoint.pipeline
        if self._compiled is None:
            self._compiled = CompiledDenoiser(pipeline.unet, fixed_shapes=True)
        side = self.subject.px // pipeline.vae_scale_factor
        shape, began_at = InputShape(side, side, TOKENS), time.perf_counter()
        self._compiled.warm_up(shape, [size for size in sizes if size not in self._compiled.batch_sizes(shape)])
        return self._compiled, time.perf_counter() - began_at

    @property
    def mean_steps(self) -> float:
        """The mean number of steps of a job."""
        return sum(self.steps) / 2

    @property
    def gap_s(self) -> float:
        """The time between two arrivals; an engine with sixteen rows can almost keep up with them."""
        if not self.forward_s:
            self.measure_forward(1)
        largest = max(self.forward_s)
        return self.forward_s[largest] / largest * self.mean_steps / OVERLOAD

    def jobs(self, gap_s: float, burst: int = BURST) -> Iterator[Job]:
        """Jobs without end, one every ``gap_s`` after the first ``burst``; each call gives the same jobs."""
        rng = random.Random(0)
        for number in itertools.count():
            arrival_s = max(0, number - burst) * gap_s
            yield Job(f"job {number}", self.params(number, rng.randint(*self.steps)), arrival_s)

    def params(self, number: int, steps: int) -> DrawParams:
        """The parameters of job ``number``."""
        return self.subject.params(
            prompt=PROMPTS[number % len(PROMPTS)], seed=number, num_inference_steps=steps,
            sampler=MIXED_SAMPLERS[number % len(MIXED_SAMPLERS)],
        )  # fmt: skip

    @torch.inference_mode()
    def measure_forward(self, images: int, denoiser: Denoiser | None = None, repeats: int = 5) -> float:
        """The median time in seconds of a guided forward of ``images``, after two forwards to warm up."""
        checkpoint, seconds = self.subject.checkpoint, []
        side = self.subject.px // checkpoint.pipeline.vae_scale_factor
        inputs = seeded_inputs(checkpoint.pipeline.unet, 2 * images, (side, side), TOKENS)
        for _ in range(2 + repeats):
            wait(self.device)
            began_at = time.perf_counter()
            (denoiser or checkpoint.denoiser).denoise(inputs.latents, inputs.timesteps, inputs.conditioning)
            wait(self.device)
            seconds.append(time.perf_counter() - began_at)
        median_s = statistics.median(seconds[2:])
        if denoiser is None:
            self.forward_s.setdefault(images, median_s)
        return median_s


def forwards(bench: Bench) -> Outcome:
    """Measure the forward by the number of images in it."""
    figures: dict[str, Any] = {}
    for images in BATCHES:
        seconds = bench.measure_forward(images)
        figures[f"{images}_ms"] = seconds * 1000
        figures[f"{images}_images_steps_per_s"] = images / seconds
    return Outcome(None, figures)


def plain_seconds(bench: Bench, params: DrawParams, pipeline: Any = None) -> float:
    """The time in seconds of one call of the plain pipeline."""
    wait(bench.device)
    began_at = time.perf_counter()
    size = {"width": params.width, "height": params.height}
    call(pipeline or pipeline_of(bench.subject.checkpoint), bench.subject.checkpoint, [params], **size)
    return time.perf_counter() - began_at
