"""Compares what can run the built-in checkpoint's UNet: ``python -m benchmarks.backends``.

For each backend: seconds to load it with an empty and with a full cache, how many times faster than eager it computes
one forward (by the least CPU time of several, the backends taking turns), how far its output is from eager's, and the
worst pixel of images that are drawn with it. CPU time counts all threads of this process, so that other programs
disturb little; leave ``--threads`` at 1 for it to mean speed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from models.catalog.backends import BACKENDS
from models.catalog.catalog import HOUSE_FOLDER, house_spec
from models.diffusion.backends.choose import choose_backend
from models.diffusion.backends.eager import EagerDenoiser
from models.diffusion.backends.inputs import seeded_inputs
from models.diffusion.denoiser import Conditioning, Denoiser
from models.diffusion.sampling import build_scheduler

BATCHES = (1, 2, 4, 8, 16)
PROMPTS = ("a red apple", "a cat", "a sailing boat", "a green tree")
TOKENS = 64
STEPS = 20


@dataclass(frozen=True)
class Figures:
    """What one backend achieved."""

    backend: str
    first_load_s: float
    later_load_s: float
    speed: Mapping[int, float]
    """Times eager's, by the number of inputs."""
    relative_error: float | None
    worst_pixel: int
    """Of 255, against eager's images."""
    mean_pixel: float


def load_pipeline() -> Any:
    """The built-in checkpoint as a script would load it."""
    pipeline = DiffusionPipeline.from_pretrained(HOUSE_FOLDER, dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load(eager: EagerDenoiser, backend: str, cache: Path) -> tuple[Denoiser, float, float]:
    """The backend, and the wall seconds it took to load the first time and the second."""
    seconds = []
    for _ in range(2):
        began_at = time.perf_counter()
        chosen = choose_backend(eager, backend, cache / backend)
        seconds.append(time.perf_counter() - began_at)
    if chosen.name != backend:
        raise SystemExit(f"backend {backend} cannot be used; the log says why")
    return chosen, seconds[0], seconds[1]


@torch.inference_mode()
def least_seconds(denoisers: Mapping[str, Denoiser], unet: Any, batch: int, repeats: int) -> dict[str, float]:
    """The least CPU seconds of one forward of ``batch`` inputs; one turn each is not counted."""
    sample_size = unet.config.sample_size
    inputs = seeded_inputs(unet, batch, (sample_size, sample_size), TOKENS)
    seconds: dict[str, list[float]] = {name: [] for name in denoisers}
    for _ in range(repeats + 1):
        for name, denoiser in denoisers.items():
            began_at = time.process_time()
            denoiser.denoise(inputs.latents, inputs.timesteps, inputs.conditioning)
            seconds[name].append(time.process_time() - began_at)
    return {name: min(each[1:]) for name, each in seconds.items()}


@contextmanager
def run_by(denoiser: Denoiser, unet: Any) -> Iterator[None]:
    """Within, whoever calls ``unet`` gets the denoiser's output."""

    def forward(
        latents: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor, **options: object
    ) -> tuple[torch.Tensor]:
        timesteps = timestep.float().expand(len(latents))
        return (denoiser.denoise(latents, timesteps, Conditioning(encoder_hidden_states)),)

    unet.forward = forward
    yield
    del unet.forward


def draw(pipeline: Any, steps: int) -> np.ndarray:
    """One image for each of ``PROMPTS`` with the model's defaults but the steps, as numbers from 0 to 255."""
    chosen = house_spec().defaults
    images = []
    for seed, prompt in enumerate(PROMPTS):
        pipeline.scheduler = build_scheduler(chosen.sampler, pipeline.scheduler.config, seed)
        images += pipeline(
            prompt, num_inference_steps=steps, guidance_scale=chosen.guidance_scale,
            width=chosen.width, height=chosen.height, generator=torch.Generator().manual_seed(seed),
        ).images  # fmt: skip
    return np.stack([np.asarray(image).astype(int) for image in images])


def measure(backends: Sequence[str], cache: Path, repeats: int) -> list[Figures]:
    """Each backend's figures."""
    pipeline = load_pipeline()
    unet, expected = pipeline.unet, draw(pipeline, STEPS)
    eager = EagerDenoiser(unet)
    loaded = {name: load(eager, name, cache) for name in backends}
    denoisers = {name: denoiser for name, (denoiser, *_) in loaded.items()}
    seconds = {batch: least_seconds({"eager": eager, **denoisers}, unet, batch, repeats) for batch in BATCHES}
    results = []
    for name, (denoiser, first_s, later_s) in loaded.items():
        with run_by(denoiser, unet):
            off = np.abs(draw(pipeline, STEPS) - expected)
        speed = {batch: seconds[batch]["eager"] / seconds[batch][name] for batch in BATCHES}
        results.append(
            Figures(name, first_s, later_s, speed, denoiser.relative_error, int(off.max()), float(off.mean()))
        )
    return results


def table(results: Sequence[Figures]) -> str:
    """A markdown table."""
    heads = [
        "",
        *(f"{batch} inputs" for batch in BATCHES),
        "relative error",
        "worst pixel",
        "mean",
        "load: first, later",
    ]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for each in results:
        cells = [
            each.backend, *(f"{speed:.2f}x" for speed in each.speed.values()), f"{each.relative_error:.1e}",
            f"{each.worst_pixel}/255", f"{each.mean_pixel:.3f}", f"{each.first_load_s:.1f}, {each.later_load_s:.1f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backends", nargs="*", default=BACKENDS[1:], help="by default all but eager")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as cache:
        results = measure(options.backends, Path(cache), options.repeats)
    print(table(results))
    print(json.dumps({"threads": options.threads, "results": [asdict(each) for each in results]}))


if __name__ == "__main__":
    main()
