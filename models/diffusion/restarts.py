"""Where the steps of the sampler Restart begin and end: down, back to more noise, and down again."""

from __future__ import annotations

from itertools import pairwise

from models.diffusion.layouts import karras

RESTART_FROM, RESTART_TO = 0.1, 2.0
"""A restart goes from the first of these noise levels back to the second: Xu et al. 2023, arXiv 2306.14878, table 1."""


def restarted(sigmas: list[float]) -> list[tuple[float, float]]:
    """The begin and the end of each step, where a sampler without restarts steps through ``sigmas``, down to zero."""
    steps = len(sigmas) - 1
    if steps < 20:
        return list(pairwise(sigmas))
    width, times = (9, 1) if steps < 36 else (steps // 4, 2)
    main = _down(sigmas[0], sigmas[-2], steps - width * times)
    begin, end = _nearest(main[:-1], RESTART_TO), _nearest(main[:-1], RESTART_FROM)  # never from the finished image
    extra: list[tuple[float, float]] = []
    if begin < end:
        again = _down(main[begin], main[end], width + 1)[:-1]
        extra = list(pairwise(again)) * times
    pairs = list(pairwise(main))
    return [*pairs[:end], *extra, *pairs[end:]]


def _nearest(sigmas: list[float], level: float) -> int:
    return min(range(len(sigmas)), key=lambda index: abs(sigmas[index] - level))


def _down(high: float, low: float, steps: int) -> list[float]:
    """So many steps of Karras from ``high`` to ``low``, and to zero."""
    return [*karras(low, high, steps).tolist(), 0.0]
