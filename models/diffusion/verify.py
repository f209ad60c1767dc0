"""``photogram models verify``: draw with plain diffusers and with the engine, on this machine, and compare.

Plain diffusers draws one image after another. The engine draws the same images one by one, and then all together, on
torch. In float32 no pixel may differ by more than 1 of 255. In 16 bits, kernels for batches of other sizes round
otherwise, and the images must have the PSNR that docs/gpu.md sets as a goal.

Both draw an image that is not counted first, with equally many threads, which sleep while they wait for each other.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.catalog.catalog import Catalog
from models.catalog.families import FAMILIES, IMG2IMG, TXT2IMG
from models.diffusion.quiet import let_waiting_threads_sleep, silence_libraries
from models.downloads.space import in_words
from models.errors import JobFailure, PhotogramError, in_flags
from models.jobs.params import DrawParams, DrawRequest
from models.jobs.tickets import complete

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from models.diffusion.engine import Engine

SEEDS = (1, 2, 3)
PROMPT = "a red apple"
WARM_UP_STEPS, STRENGTH = 2, 0.6
FLOAT32_LEVELS = 1
"""The largest difference of a pixel in float32, of 255."""
PSNR_DB = {"float16": 38.0, "bfloat16": 30.0}
"""The lowest PSNR of an image in 16 bits."""
_FLAGS = {"model": "", "num_inference_steps": "--steps"}
"""The flag that gives each field of the request; the model is named by the message."""
_OVER = f"input:{'0' * 64}"
"""The name of the image that is drawn over."""


@dataclass(frozen=True)
class Drawn:
    """Images, and what drawing them took."""

    images: Sequence[Image]
    seconds: float
    peak_bytes: int
    """Of the device; on a CPU of the whole process so far."""

    def line(self, title: str) -> str:
        """A line of the table."""
        each_s = self.seconds / len(self.images)
        return f"{title:20} {each_s:9.2f} {1 / each_s:9.2f} {in_words(self.peak_bytes):>12}"


@dataclass(frozen=True)
class Difference:
    """How far images are from those of plain diffusers, in levels of 255."""

    largest: int
    mean: float
    psnr_db: float
    """Of the image that differs most; infinite for equal images."""

    @classmethod
    def of(cls, expected: Sequence[Image], found: Sequence[Image]) -> Difference:
        """Compare images pairwise."""
        off = [
            np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64))
            for one, other in zip(expected, found, strict=True)
        ]
        square = max(float((each**2).mean()) for each in off)
        psnr_db = 10 * log10(255**2 / square) if square else inf
        return cls(int(max(each.max() for each in off)), float(np.mean(off)), psnr_db)

    def is_within(self, dtype: str) -> bool:
        """Whether the law of the engine holds for images computed in ``dtype``."""
        return self.psnr_db >= PSNR_DB[dtype] if dtype in PSNR_DB else self.largest <= FLOAT32_LEVELS

    def __str__(self) -> str:
        return f" {self.largest:9d} {self.mean:9.4f} {self.psnr_db:7.1f} dB"


def main(argv: list[str] | None = None) -> int:
    """Print a table and whether the engine draws as diffusers does, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.diffusion.verify", description=__doc__)
    parser.add_argument("catalog", type=Path)
    parser.add_argument("name")
    parser.add_argument("--steps", type=int)
    options = parser.parse_args(argv)
    let_waiting_threads_sleep()
    silence_libraries()
    try:
        return _verify(Catalog.load(options.catalog), options.name, options.steps)
    except PhotogramError as error:
        print(f"photogram models verify: {in_flags(error, _FLAGS)}", file=sys.stderr)
        return 1


def _verify(catalog: Catalog, name: str, steps: int | None) -> int:
    """Draw, compare and print; torch is imported here, after its libraries were silenced."""
    import torch

    from models.diffusion.checkpoint_loading import load_checkpoint
    from models.diffusion.engine import Engine

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.allow_tf32 = False  # it is no float32
    jobs = _jobs(catalog, name, steps)
    spec = catalog[jobs[0].model]
    over = None if TXT2IMG in FAMILIES[spec.family].kinds else gradient(jobs[0].width, jobs[0].height)
    plain = _drawn_plainly(catalog, jobs, over, device)
    engine = Engine(lambda spec: load_checkpoint(spec, device), device=device)
    dtype = str(engine.load(spec).dtype).removeprefix("torch.")

    def draw(rows: Sequence[DrawParams]) -> list[Image]:
        return _drawn_by(engine, catalog, rows, over)

    draw([replace(jobs[0], num_inference_steps=WARM_UP_STEPS)])
    alone = _timed(lambda: [image for job in jobs for image in draw([job])], device)
    together = _timed(lambda: draw(jobs), device)
    engine.close()
    differences = [Difference.of(plain.images, each.images) for each in (alone, together)]
    print(f"{name}: {len(jobs)} images of {jobs[0].width}x{jobs[0].height}, {jobs[0].num_inference_steps} steps, "
          f"{jobs[0].sampler}, {dtype}, {device.type}")  # fmt: skip
    print(f"{'':20} {'s/image':>9} {'images/s':>9} {'memory':>12} {'largest':>9} {'mean':>9} {'PSNR':>10}")
    print(plain.line("plain diffusers"))
    print(alone.line("engine, one by one") + str(differences[0]))
    print(together.line(f"engine, {len(jobs)} together") + str(differences[1]))
    return _judged(name, dtype, differences)


def _judged(name: str, dtype: str, differences: Sequence[Difference]) -> int:
    bound = f"a PSNR of {PSNR_DB[dtype]:g} dB" if dtype in PSNR_DB else f"{FLOAT32_LEVELS} of 255"
    is_within = all(each.is_within(dtype) for each in differences)
    print(f"{name}: {'ok, within' if is_within else 'THE IMAGES DIFFER by more than'} {bound}")
    return 0 if is_within else 1


def _jobs(catalog: Catalog, name: str, steps: int | None) -> list[DrawParams]:
    """The same request with three seeds, at the size at which the model draws its default size."""
    spec = catalog.resolve(name)
    is_drawn_over = spec is not None and TXT2IMG not in FAMILIES[spec.family].kinds
    kind, image = (IMG2IMG, _OVER) if is_drawn_over else (TXT2IMG, None)
    request = DrawRequest(kind=kind, prompt=PROMPT, model=name, seed=0, image=image, num_inference_steps=steps)
    params = complete(request, catalog)
    assert isinstance(params, DrawParams)
    width, height = catalog[params.model].drawn_size(params.width, params.height)
    same = replace(params, width=width, height=height, strength=STRENGTH)
    return [replace(same, seed=seed) for seed in SEEDS]


def gradient(width: int, height: int) -> Image:
    """An image to draw over, for models that cannot draw from noise."""
    from PIL import Image as images

    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return images.fromarray(np.stack([red, green, 255 - red], axis=-1).astype(np.uint8))


def _drawn_plainly(catalog: Catalog, jobs: Sequence[DrawParams], over: Image | None, device: torch.device) -> Drawn:
    """The images of plain diffusers, whose pipeline is dropped afterwards: a device may be too small for two."""
    from models.diffusion.failures import attempt, release_memory
    from models.diffusion.plain import PlainPipeline

    def draw() -> Drawn:
        pipeline = PlainPipeline(catalog[jobs[0].model], device)
        pipeline.draw(replace(jobs[0], num_inference_steps=WARM_UP_STEPS), over)
        return _timed(lambda: [pipeline.draw(job, over) for job in jobs], device)

    drawn = attempt(draw)
    gc.collect()
    release_memory(device)
    if isinstance(drawn, JobFailure):
        raise drawn
    return drawn


def _drawn_by(engine: Engine, catalog: Catalog, jobs: Sequence[DrawParams], over: Image | None) -> list[Image]:
    """The images of ``jobs``, drawn together."""
    from PIL import Image as images

    from models.diffusion.events import Failed, Finished
    from models.diffusion.work import Task

    kind, inputs = (TXT2IMG, {}) if over is None else (IMG2IMG, {_OVER: over})
    for number, job in enumerate(jobs):
        engine.add_row(str(number), Task(kind=kind, params=job, catalog=catalog, images=inputs))
    found: dict[str, Image] = {}
    while not engine.is_idle:
        for event in engine.step():
            if isinstance(event, Failed):
                raise event.failure
            if isinstance(event, Finished) and isinstance(event.result, images.Image):
                found[event.row_id] = event.result
    return [found[str(number)] for number in range(len(jobs))]


def _timed(draw: Callable[[], Sequence[Image]], device: torch.device) -> Drawn:
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.monotonic()
    images = draw()
    return Drawn(images, time.monotonic() - started, _peak_bytes(device))


def _peak_bytes(device: torch.device) -> int:
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
