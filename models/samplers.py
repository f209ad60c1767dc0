"""The samplers by the names that Prodia and A1111 give them, and the diffusers scheduler each one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Sampler:
    """One sampler: ``scheduler`` is a class name in diffusers, ``config`` what it changes in the checkpoint's own."""

    name: str
    scheduler: str
    config: Mapping[str, object] = field(default_factory=dict)


_ALL = (
    Sampler("Euler", "EulerDiscreteScheduler"),
    Sampler("Euler a", "EulerAncestralDiscreteScheduler"),
    Sampler("DDIM", "DDIMScheduler", {"clip_sample": False}),
    Sampler(
        "DPM++ 2M",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": False},
    ),
    Sampler(
        "DPM++ 2M Karras",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
    ),
    Sampler("LCM", "LCMScheduler"),
)

SAMPLERS: Mapping[str, Sampler] = MappingProxyType({sampler.name: sampler for sampler in _ALL})
"""By name, in the order in which listings show them."""
