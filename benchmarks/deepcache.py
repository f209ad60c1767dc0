"""What reusing deep features saves and costs with the built-in checkpoint: ``python -m benchmarks.deepcache``.

The same images are drawn with the plain UNet and with every n-th step full and the others shallow, taking turns. The
saving is the UNet's CPU time in all steps; the cost is how far the images are from the plain ones.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from benchmarks.backends import PROMPTS, draw, load_pipeline
from models.diffusion.backends.deepcache import DeepCacheUNet, is_full_step
from models.diffusion.denoiser import Conditioning

Forward = Callable[[torch.Tensor, torch.Tensor, Conditioning], torch.Tensor]


@dataclass(frozen=True)
class Figures:
    """Of one way to run the UNet; differences are to the plain one's images."""

    depth: int
    interval: int
    speed: float
    """How many times less CPU time the UNet takes."""
    psnr_db: float
    worst_pixel: int
    """Of 255, as the mean."""
    mean_pixel: float


class Reusing:
    """The forward of one image after the other, ``interval`` steps to a full one; 1 is all full."""

    def __init__(self, unet: DeepCacheUNet, interval: int, steps: int) -> None:
        self._unet = unet
        self._interval = interval
        self._steps = steps
        self._step = 0
        self._deep = torch.empty(0)
        self.seconds = 0.0

    def __call__(
        self, latents: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor, **options: object
    ) -> tuple[torch.Tensor]:
        arguments = latents, timestep.float().expand(len(latents)), Conditioning(encoder_hidden_states)
        began_at = time.process_time()
        if is_full_step(self._step, self._interval):
            output, self._deep = self._unet.full(*arguments)
        else:
            output = self._unet.shallow(*arguments, self._deep)
        self.seconds += time.process_time() - began_at
        self._step = (self._step + 1) % self._steps
        return (output,)


def measure(depths: Sequence[int], intervals: Sequence[int], steps: int, repeats: int) -> list[Figures]:
    """The figures for each depth and interval."""
    pipeline = load_pipeline()
    ways = [(1, 1), *((depth, interval) for depth in depths for interval in intervals)]
    seconds: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    images = {}
    for _ in range(repeats):
        for depth, interval in ways:
            forward = Reusing(DeepCacheUNet(pipeline.unet, depth), interval, steps)
            pipeline.unet.forward = forward
            images[depth, interval] = draw(pipeline, steps)
            seconds[depth, interval].append(forward.seconds)
    return [_figures(way, images, seconds) for way in ways[1:]]


def _figures(
    way: tuple[int, int],
    images: dict[tuple[int, int], np.ndarray],
    seconds: dict[tuple[int, int], list[float]],
) -> Figures:
    off = np.abs(images[way] - images[1, 1])
    psnr_db = 10 * math.log10(255**2 / np.square(off).mean())
    return Figures(*way, min(seconds[1, 1]) / min(seconds[way]), psnr_db, int(off.max()), float(off.mean()))


def table(results: Sequence[Figures]) -> str:
    """A markdown table."""
    lines = ["| levels computed | full steps | UNet | PSNR | mean pixel | worst |", "| --- " * 6 + "|"]
    for each in results:
        cells = [
            str(each.depth), f"1 in {each.interval}", f"{each.speed:.2f}x", f"{each.psnr_db:.1f} dB",
            f"{each.mean_pixel:.1f}/255", f"{each.worst_pixel}/255",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--intervals", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = measure(options.depths, options.intervals, options.steps, options.repeats)
    print(table(results))
    print(json.dumps({"steps": options.steps, "images": len(PROMPTS), "results": [asdict(each) for each in results]}))


if __name__ == "__main__":
    main()
