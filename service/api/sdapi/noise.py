"""A1111's numbers about the noise of a sampler: which samplers they matter to, and what an eta of 0 means."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from models.catalog.samplers import SAMPLERS

_CHURNING = ("Euler", "Heun", "DPM2")
"""The solvers of k-diffusion that take ``s_churn``, with any layout of the steps."""
_WITHOUT_ETA = ("LCM",)
"""Samplers that add noise and have no eta in A1111."""
_NOISE_FREE: Mapping[str, str] = MappingProxyType({"Euler a": "Euler", "DPM2 a": "DPM2", "DPM++ 2M SDE": "DPM++ 2M"})
"""The sampler that each solver becomes at an eta of 0, with the same layout of the steps."""


def churns(sampler: str | None) -> bool:
    """Whether ``s_churn`` matters to ``sampler``, a name of the catalog."""
    return any(_ending(sampler or "", solver) is not None for solver in _CHURNING)


def _ending(sampler: str, solver: str) -> str | None:
    """What follows the name of ``solver`` in ``sampler``: the layout of the steps; ``None`` if it is another solver."""
    found, plain = SAMPLERS.get(sampler), SAMPLERS.get(solver)
    is_same = found is not None and plain is not None and found.scheduler == plain.scheduler
    return sampler.removeprefix(solver) if is_same and sampler.startswith(solver) else None


def adds_noise(sampler: str | None) -> bool:
    """Whether ``sampler`` draws noise at its steps."""
    known = SAMPLERS.get(sampler or "")
    return known is not None and known.adds_noise


def is_usual_eta(eta: float | None, sampler: str | None) -> bool:
    """Whether ``eta`` can be had: 1, which clients send with every sampler; 0; or any, where the sampler has none."""
    return eta in (None, 0, 1) or not adds_noise(sampler) or sampler in _WITHOUT_ETA


def sampler_at_eta(sampler: str, eta: float | None) -> tuple[str, str | None]:
    """The sampler that draws as ``sampler`` does at ``eta``, and a comment if that is not what ``sampler`` is."""
    if eta != 0 or not adds_noise(sampler) or sampler in _WITHOUT_ETA:
        return sampler, None
    for solver, plain in _NOISE_FREE.items():
        ending = _ending(sampler, solver)
        if ending is not None and plain + ending in SAMPLERS:
            return plain + ending, f"eta 0: {sampler} without noise is {plain + ending}"
    return sampler, f"eta 0: {sampler} has no variant without noise here, and drew its usual noise"
