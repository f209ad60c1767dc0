"""What the engine makes of a GPU: ``python -m benchmarks.gpu``. SD 1.5 and SDXL at full size, random weights, bfloat16.

For each model and size: the time of one forward at batches of 1 to 16 images; and, under arrivals in a steady beat of
jobs of 10 to 30 steps with mixed samplers, images/s, p95 latency, the share of the time in which the GPU computes, and
the most memory used, for the plain diffusers pipeline one by one, in static batches of 8, and for the engine drawing
1, 4, 8 and 16 images at once and as many as it finds worth while. Jobs come six times as fast as one by one can draw
them. The share is that of forwards between CUDA events: text encoding and decoding do not count.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from benchmarks.engine import (
    MIXED_SAMPLERS,
    SHORT_STEPS,
    Clock,
    Figures,
    Finished,
    Job,
    continuous,
    figures,
    make_jobs,
    one_by_one,
    static_batches,
    time_alone,
)
from benchmarks.full_size import build
from models.catalog.families import SDXL, STABLE_DIFFUSION
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.denoiser import Conditioning, Denoiser, Residuals

CASES = ((STABLE_DIFFUSION, 512), (STABLE_DIFFUSION, 1024), (SDXL, 512), (SDXL, 1024))
BATCHES = (1, 4, 8, 16)
WARM_UP, TIMED = 2, 5


class TimedDenoiser:
    """A denoiser that notes how long the GPU was busy with it."""

    def __init__(self, inner: Denoiser) -> None:
        self._inner = inner
        self.name, self.relative_error = inner.name, inner.relative_error
        self._spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """As the inner one."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        output = self._inner.denoise(latents, timesteps, conditioning, residuals)
        end.record()
        self._spans.append((start, end))
        return output

    def busy_s(self) -> float:
        """Seconds of all forwards so far; waits for the last one."""
        torch.cuda.synchronize()
        busy_ms: float = sum(start.elapsed_time(end) for start, end in self._spans)
        return busy_ms / 1000


@dataclass(frozen=True)
class Result:
    """What one way achieved on the GPU."""

    figures: Figures
    busy: float
    """The share of the time in which forwards ran."""
    memory_bytes: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=48)
    parser.add_argument("--load", type=float, default=6.0, help="jobs that come in the time of one")
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here")
    device = torch.device("cuda")
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, {options.dtype}\n")
    for family, px in CASES:
        checkpoint = build(family, px, device, getattr(torch, options.dtype))
        print(f"## {family}, {px} px\n")
        print_forwards(checkpoint)
        print_ways(checkpoint, options.jobs, options.load)
        del checkpoint
        torch.cuda.empty_cache()


@torch.inference_mode()
def print_forwards(checkpoint: Checkpoint) -> None:
    """The table of one guided forward's time by how many images share it."""
    print("| images | forward, ms | images/s against one alone |\n|---|---|---|")
    (job,) = make_jobs(checkpoint.spec, 1, 0.0, MIXED_SAMPLERS)
    alone_s = 0.0
    for batch in BATCHES:
        seconds = time_forward(checkpoint, job, batch)
        alone_s = alone_s or seconds
        print(f"| {batch} | {seconds * 1000:.1f} | {batch * alone_s / seconds:.2f}x |", flush=True)
    print()


def time_forward(checkpoint: Checkpoint, job: Job, batch: int) -> float:
    """Seconds of one guided forward of ``batch`` images, the median of several."""
    width, height = (side // checkpoint.pipeline.vae_scale_factor for side in (job.params.width, job.params.height))
    latents = torch.randn(2 * batch, 4, height, width, device=checkpoint.device, dtype=checkpoint.dtype)
    states = torch.randn(
        2 * batch, 77, checkpoint.pipeline.unet.config.cross_attention_dim, device=checkpoint.device,
        dtype=checkpoint.dtype,
    )  # fmt: skip
    further = {}
    if checkpoint.spec.family == SDXL:
        further = {"text_embeds": states.new_zeros(2 * batch, 1280), "time_ids": states.new_zeros(2 * batch, 6)}
    conditioning = Conditioning(states, None, further)
    timesteps, seconds = torch.full((2 * batch,), 500.0, device=checkpoint.device), []
    for _ in range(WARM_UP + TIMED):
        torch.cuda.synchronize()
        clock = Clock()
        checkpoint.denoiser.denoise(latents, timesteps, conditioning)
        torch.cuda.synchronize()
        seconds.append(clock.now())
    return statistics.median(seconds[WARM_UP:])


def print_ways(checkpoint: Checkpoint, count: int, load: float) -> None:
    """The table of all ways under the same arrivals."""
    gap_s = time_alone(checkpoint) / load
    jobs = make_jobs(checkpoint.spec, count, gap_s, MIXED_SAMPLERS)
    print(f"{count} jobs, one every {gap_s:.3f} s\n")
    print(f"| | images/s | mean, s | p95, s | jobs of <= {SHORT_STEPS} steps, s | GPU busy | memory, GiB |")
    print("|---|---|---|---|---|---|---|")
    base: Result | None = None
    for name, way in ways().items():
        result = run(way, jobs, checkpoint)
        base = base or result
        print(line(name, result, base), flush=True)
    print()


Way = Callable[[Sequence[Job], Checkpoint], Iterator[Finished]]


def ways() -> dict[str, Way]:
    """All of them by name, the one that the others are compared with first."""
    fixed = {f"engine, {rows} at once": partial(continuous, capacity=Capacity(rows)) for rows in BATCHES}
    return {"one by one": one_by_one, "static batches": static_batches, **fixed, "engine, calibrated": continuous}


def run(way: Way, jobs: Sequence[Job], checkpoint: Checkpoint) -> Result:
    """One run; images are not compared, for in bfloat16 and with random weights they mean little."""
    timed = TimedDenoiser(checkpoint.denoiser)
    watched = replace(checkpoint, denoiser=timed)
    torch.cuda.reset_peak_memory_stats()
    finished = list(way(jobs, watched))
    took_s = max(each.finished_s for each in finished)
    return Result(figures("", finished, finished), timed.busy_s() / took_s, torch.cuda.max_memory_allocated())


def line(name: str, result: Result, base: Result) -> str:
    """One line of the table."""
    own, first = result.figures, base.figures
    cells = [
        f"{own.images_per_s:.2f} ({own.images_per_s / first.images_per_s:.2f}x)",
        f"{own.mean_latency_s:.2f}",
        f"{own.p95_latency_s:.2f} ({own.p95_latency_s / first.p95_latency_s:.2f}x)",
        f"{own.short_latency_s:.2f}",
        f"{100 * result.busy:.0f} %",
        f"{result.memory_bytes / 2**30:.1f}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
