"""Seeds as clients of other programs send them, and those of a series of images and of the candidates of a job."""

from __future__ import annotations

from models.jobs.params import SEED_MAX, DrawParams

_SEED_LIMIT = 2**64
"""Seeds of this size or more are refused; clients draw theirs from up to 64 bits."""


def client_seed(seed: int | None) -> int | None:
    """``None``, which draws a random seed, for negative seeds; the lowest 53 bits of seeds that are too large."""
    if seed is None or seed < 0:
        return None
    return seed & SEED_MAX if seed < _SEED_LIMIT else seed


def later_seed(seed: int, index: int) -> int:
    """The seed that is ``index`` above ``seed``; the largest one is followed by 0."""
    return (seed + index) & SEED_MAX


def candidate_seeds(params: DrawParams) -> tuple[int, ...]:
    """The seed of each candidate, in their order."""
    return tuple(later_seed(params.seed, index) for index in range(params.best_of))
