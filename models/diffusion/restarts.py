"""Where the steps of the sampler Restart begin and end: down, back to more noise, and down again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

RESTART_FROM, RESTART_TO = 0.1, 2.0
"""A restart goes from the first of these noise levels back to the second: Xu et al. 2023, arXiv 2306.14878, table 1."""


def restarted(sigmas: list[float]) -> list[tuple[float, float]]:
    """The begin and the end of each step, where a sampler without restarts steps through ``sigmas``, down to zero."""
    steps = len(sigmas) - 1
    if steps < 20:
        return list(pairwise(sigmas))
    width, times = (9, 1) if steps < 36 else (steps // 4, 2)
    main = _karras(steps - width * times, sigmas[-2], sigmas[0])
    begin, end = _nearest(main[:-1], RESTART_TO), _nearest(main[:-1], RESTART_FROM)  # never from the finished image
    extra: list[tuple[float, float]] = []
    if begin < end:
        again = _karras(width + 1, main[end], main[begin])[:-1]
        extra = list(pairwise(again)) * times
    pairs = list(pairwise(main))
    return [*pairs[:end], *extra, *pairs[end:]]


def _nearest(sigmas: list[float], level: float) -> int:
    return min(range(len(sigmas)), key=lambda index: abs(sigmas[index] - level))


def _karras(steps: int, low: float, high: float) -> list[float]:
    return [float(each) for each in np.linspace(high ** (1 / 7), low ** (1 / 7), steps) ** 7] + [0.0]
