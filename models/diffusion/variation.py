"""Variations: initial noise between that of the image's seed and that of another seed, as A1111's variation seeds."""

from __future__ import annotations

import torch

_MIN_SINE = 1e-4
"""Below it two vectors are parallel, and the great circle through them is not defined."""


def slerp(start: torch.Tensor, end: torch.Tensor, share: float) -> torch.Tensor:
    """Interpolate spherically from ``start`` to ``end``, both [..., height, width], by ``share`` from 0 to 1.

    Each column of each channel is a vector, as in A1111 (``slerp`` in ``modules/rng.py``). The result has the dtype of
    ``start``. Parallel columns are interpolated linearly.
    """
    low, high = start.double(), end.double()
    cosine = torch.nn.functional.cosine_similarity(low, high, dim=-2)[..., None, :].clamp(-1, 1)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    is_parallel = sine < _MIN_SINE
    divisor = torch.where(is_parallel, 1.0, sine)
    low_share = torch.where(is_parallel, 1 - share, torch.sin((1 - share) * angle) / divisor)
    high_share = torch.where(is_parallel, share, torch.sin(share * angle) / divisor)
    return (low_share * low + high_share * high).to(start.dtype)
