"""Compares three ways to serve the same jobs with the same weights, on each backend: ``python -m benchmarks.engine``.

- one by one: each job is a call of the plain diffusers pipeline, first come, first served;
- static batches: jobs that have arrived and have equal sampler and steps share one call of the plain pipeline;
- continuous: the engine, where jobs join and leave at every step.

With another backend than eager, the plain pipeline calls that backend in the place of its UNet. The clock is the real
one: jobs arrive on a fixed schedule, a way that has nothing to do sleeps until the next arrival, and a job's latency
runs from its arrival to its decoded image. Under load, jobs come several times as fast as one by one can draw them;
at low load, one comes in the time that one by one takes for two. All ways draw the same images, which is checked;
previews are off. Run it on a machine that does nothing else, and read the ratios. With ``--packages``, deployed
packages of the built-in model are measured instead (``benchmarks/engine_packages.py``).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import engine_packages
from benchmarks.engine_ways import MIXED_SAMPLERS, SHORT_STEPS, WAYS, Finished, Job, make_jobs, time_alone
from models.catalog.catalog import ModelSpec, house_spec
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint


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
    parser.add_argument("--packages", type=Path, help="measure the built-in model's packages in this folder, such as "
                        "DATA/deployed, beside torch, and nothing else")  # fmt: skip
    parser.add_argument("--targets", default="", help="of those packages, with commas between; all by default")
    options = parser.parse_args()
    if options.packages is not None:
        asked = [each for each in options.targets.split(",") if each]
        print(engine_packages.compared(options.packages, asked, options.jobs, options.load, options.repeats))
        return
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
