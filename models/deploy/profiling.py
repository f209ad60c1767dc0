"""How fast a model draws on each of several backends, measured in turns in one process."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from models.catalog.catalog import Catalog
from models.deploy.recipes import Recipe, draw
from models.diffusion.checkpoint import Checkpoint

BATCHES = (1, 4)


def profile(
    subjects: Mapping[str, Checkpoint],
    catalog: Catalog,
    recipe: Recipe,
    rounds: int,
    batches: Sequence[int] = BATCHES,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Draw the image of ``recipe`` alone and several together, on each of ``subjects`` in turns.

    Each round begins with another subject, so that a slow moment of the machine hits all of them. One image of each is
    drawn before, which does not count.

    Returns:
        For each subject the median and the 99th percentile of the seconds of an image alone, and the images per second
        by the number drawn together, from the fastest round; besides what was drawn, and the peak memory so far.
    """
    seconds: dict[str, dict[int, list[float]]] = {name: {size: [] for size in batches} for name in subjects}
    for checkpoint in subjects.values():
        draw([recipe], catalog, checkpoint)
    names = list(subjects)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            for size in batches:
                together = [_with_seed(recipe, number + 1) for number in range(size)]
                began_at = time.perf_counter()
                draw(together, catalog, subjects[name])
                seconds[name][size].append(time.perf_counter() - began_at)
        told(turn + 1, rounds)
    params = recipe.params
    return {
        "image": f"{params.width}x{params.height}, {params.num_inference_steps} steps, {params.sampler}",
        "rounds": rounds,
        **{name: _figures(found) for name, found in seconds.items()},
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
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
