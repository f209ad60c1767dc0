"""How fast a model is on each of several backends, measured in turns in one process."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from models.catalog.catalog import Catalog
from models.deploy.profiling_keys import DEPLOYED
from models.deploy.recipes import Recipe, draw
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.jobs.params import drawing_cost_key

BATCHES = (1, 4)
ROUNDS = 3
CALIBRATION_S = 5.0
"""How long the search for the best batch size of one subject may take."""
Told = Callable[[int, int], None]
Seconds = Mapping[str, Mapping[int, Sequence[float]]]
"""Of every round, for each subject and each number of images together."""


def profile(
    subjects: Mapping[str, Checkpoint], catalog: Catalog, recipe: Recipe, rounds: int, told: Told
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Draw the image of ``recipe`` alone and several together, on each of ``subjects`` in turns.

    Returns:
        What was drawn, with the peak memory so far; and for each subject the median and the 99th percentile of the
        seconds of an image alone, the images per second by the number drawn together, from the fastest round, and the
        largest batch that is worth while.
    """
    together = {size: [_with_seed(recipe, number + 1) for number in range(size)] for size in BATCHES}
    seconds = in_turns(
        {
            name: {size: partial(draw, recipes, catalog, checkpoint) for size, recipes in together.items()}
            for name, checkpoint in subjects.items()
        },
        rounds, told,
    )  # fmt: skip
    figures = {name: _figures(found) for name, found in seconds.items()}
    for name, checkpoint in subjects.items():
        figures[name]["inputs_at_once"] = inputs_at_once(checkpoint)
    params = recipe.params
    image = f"{params.width}x{params.height}, {params.num_inference_steps} steps, {params.sampler}"
    return described(image, rounds), figures


def inputs_at_once(checkpoint: Checkpoint) -> int:
    """The largest batch, in inputs at the model's default size, that is worth while, as a worker would find it."""
    capacity, spec = Capacity(), checkpoint.spec
    calibrate(checkpoint, capacity, CALIBRATION_S)
    size = spec.drawn_size(spec.defaults.width, spec.defaults.height)
    return capacity.max_inputs(drawing_cost_key(spec.name, size, any_backend=True))


def in_turns(subjects: Mapping[str, Mapping[int, Callable[[], object]]], rounds: int, told: Told) -> Seconds:
    """The seconds of each function, by subject and number of images.

    Each round begins with another subject, so that a slow moment of the machine hits all of them. The first function of
    each subject is called once before, which does not count.
    """
    seconds: dict[str, dict[int, list[float]]] = {name: {size: [] for size in runs} for name, runs in subjects.items()}
    for runs in subjects.values():
        next(iter(runs.values()))()
    names = list(subjects)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            for size, run in subjects[name].items():
                began_at = time.perf_counter()
                run()
                seconds[name][size].append(time.perf_counter() - began_at)
        told(turn + 1, rounds)
    return seconds


def described(image: str, rounds: int) -> dict[str, Any]:
    """What all subjects of a profile have in common; ``image`` says what was computed."""
    return {"image": image, "rounds": rounds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def profiles(
    common: Mapping[str, Any], figures: Mapping[str, Any], baselines: Sequence[str], load_s: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """The section ``profile`` of each package in ``load_s``, all of which were measured with the same ``baselines``."""
    beside = {name: figures[name] for name in baselines}
    return {
        name: {**common, **beside, DEPLOYED: figures[name], "load_s": round(seconds, 3)}
        for name, seconds in load_s.items()
    }


def _figures(seconds: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    alone = sorted(seconds[min(seconds)])
    return {
        "p50_s": round(_quantile(alone, 0.5), 4),
        "p99_s": round(_quantile(alone, 0.99), 4),
        "images_per_s": {str(size): round(size / min(found), 3) for size, found in seconds.items()},
    }


def _quantile(ascending: Sequence[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def _with_seed(recipe: Recipe, seed: int) -> Recipe:
    return replace(recipe, params=replace(recipe.params, seed=seed))
