"""Measures the CPU time of single ticks of the engine in one thread: ``python -m benchmarks.ticks``.

All rows are in the middle of their steps, half of them guided; none joins or ends, and previews are off. A tick is one
``Engine.step``: one forward, and guidance and one scheduler step of each row. Most are measured with a model that takes
no time, which leaves what the engine does itself, and some with the built-in checkpoint. ``--before FOLDER`` takes
turns with the code in another folder, a checkout of an earlier commit, in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models.catalog.catalog import Catalog, house_spec
from models.catalog.families import TXT2IMG
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.engine import Engine
from models.diffusion.work import Task
from models.jobs.params import DrawParams

MIXES = {
    "four mixed": ("Euler", "Euler a", "DPM++ 2M Karras", "DDIM"),
    "Euler a": ("Euler a",),
    "DPM++ 2M Karras": ("DPM++ 2M Karras",),
    "UniPC": ("UniPC",),
}
"""The samplers of the rows, in turn."""
STEPS = 150
WARM_UP = 3


class InstantDenoiser:
    """Takes no time: its output is its input."""

    relative_error: float | None = None
    name = "instant"

    def denoise(self, latents: torch.Tensor, *others: Any) -> torch.Tensor:
        """``latents`` themselves."""
        return latents


def measure(checkpoint: Checkpoint, samplers: Sequence[str], rows: int, ticks: int) -> float:
    """The median CPU time of a tick in milliseconds."""
    engine = Engine(lambda spec: checkpoint, capacity=Capacity(rows), preview_every=0)
    spec = checkpoint.spec
    for number in range(rows):
        params = DrawParams(
            prompt="a cat", negative_prompt="", model=spec.name, sampler=samplers[number % len(samplers)],
            num_inference_steps=STEPS, guidance_scale=(5.0, 1.0)[number // len(samplers) % 2], seed=number,
            width=spec.defaults.width, height=spec.defaults.height,
        )  # fmt: skip
        task = Task(kind=TXT2IMG, params=params, catalog=Catalog({spec.name: spec}), images={})
        engine.add_row(str(number), task)
    times = [_tick_s(engine) for _ in range(WARM_UP + ticks)][WARM_UP:]
    engine.close()
    return statistics.median(times) * 1e3


def _tick_s(engine: Engine) -> float:
    began_at_s = time.thread_time()
    engine.step()
    return time.thread_time() - began_at_s


def measure_all(rows: Sequence[int], ticks: int) -> dict[str, float]:
    """By the samplers, the number of rows, and whether the model runs."""
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(house_spec(), torch.device("cpu"))
    instant = replace(checkpoint, denoiser=InstantDenoiser())
    found = {f"{mix}, {count}": measure(instant, MIXES[mix], count, 8 * ticks) for mix in MIXES for count in rows}
    mixed = next(iter(MIXES))
    return found | {f"{mixed}, {count}, with the model": measure(checkpoint, MIXES[mixed], count, ticks)
                    for count in rows}  # fmt: skip


def in_turn(folders: Sequence[Path], arguments: Sequence[str], turns: int) -> list[dict[str, float]]:
    """The measurements of each folder's code, the medians of ``turns`` processes each."""
    runs: list[list[dict[str, float]]] = [[] for _ in folders]
    for _ in range(turns):
        for folder, found in zip(folders, runs, strict=True):
            command = [sys.executable, str(Path(__file__).resolve()), "--json", *arguments]
            environment = {**os.environ, "PYTHONPATH": str(folder)}
            done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    return [{name: statistics.median(each[name] for each in found) for name in found[0]} for found in runs]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--ticks", type=int, default=8, help="with the model; eight times as many without")
    parser.add_argument("--turns", type=int, default=3, help="processes for each folder")
    parser.add_argument("--before", type=Path, help="the folder of another version of the code")
    parser.add_argument("--json", action="store_true", help="measure in this process, and print as JSON")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(measure_all(options.rows, options.ticks)))
        return
    folders = [*([options.before] if options.before else []), Path(__file__).resolve().parent.parent]
    found = in_turn(folders, ["--ticks", str(options.ticks), "--rows", *map(str, options.rows)], options.turns)
    print("| samplers and rows |" + " ms a tick |" * len(folders))
    for name in found[0]:
        print(f"| {name} | " + " | ".join(f"{each[name]:.2f}" for each in found) + " |")


if __name__ == "__main__":
    main()
