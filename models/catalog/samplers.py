"""The samplers by the names of Prodia and A1111: the diffusers scheduler of each, or why it is refused.

A sampler is supported only if diffusers has the same solver. A1111 takes most of its solvers from k-diffusion
(https://github.com/crowsonkb/k-diffusion, ``sampling.py``), so the samplers are compared with these; docs/samplers.md
has the results. The checkpoint's scheduler configuration decides the positions of the steps, except for names that end
in Karras or Exponential: their steps go from the noisiest trained timestep to the cleanest one, as in A1111.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

NOISE_SCHEDULE = "noise schedule"
"""Models that were trained on a noise schedule given by betas: Stable Diffusion 1 and 2, SDXL."""
FLOW_MATCHING = "flow matching"
"""Models that were trained by flow matching, on the straight line from image to noise: Stable Diffusion 3, FLUX."""


@dataclass(frozen=True)
class Sampler:
    """A solver and a layout of its steps.

    ``scheduler`` is a class of diffusers, and ``config`` overrides the checkpoint's scheduler configuration.
    """

    name: str
    scheduler: str
    config: Mapping[str, Any] = field(default_factory=dict)
    flow_scheduler: str | None = None
    """The class for flow-matching models, with the checkpoint's own configuration; ``None`` if there is none."""
    even_steps: bool = False
    """Whether each step covers ``num_train_timesteps // num_inference_steps`` timesteps, wherever the next starts."""
    min_steps: int = 1
    max_steps: int | None = None
    img2img_problem: str | None = None
    """Why it cannot start in the middle of its steps, as img2img needs; ``None`` if it can."""

    def serves(self, kind: str) -> bool:
        """Whether it can be used with models of ``kind``: ``NOISE_SCHEDULE`` or ``FLOW_MATCHING``."""
        return kind == NOISE_SCHEDULE or self.flow_scheduler is not None


_EVEN = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_MULTISTEP = "DPMSolverMultistepScheduler"
_MULTISTEP_CONFIG = {
    "solver_order": 2, "solver_type": "midpoint", "lower_order_final": True, "euler_at_final": False,
    "final_sigmas_type": "zero", "use_lu_lambdas": False, "use_flow_sigmas": False, "thresholding": False,
}  # fmt: skip
_SDE_CONFIG = _MULTISTEP_CONFIG | {"algorithm_type": "sde-dpmsolver++"}
_UNIPC_CONFIG = _EVEN | {
    "solver_order": 3, "solver_type": "bh1", "predict_x0": True, "lower_order_final": True,
    "final_sigmas_type": "sigma_min", "use_flow_sigmas": False, "thresholding": False,
}  # fmt: skip
"""A1111's defaults; ``bh1`` divides by zero if the last step ends without noise."""

_LMS_PROBLEM = "when it starts from an image, diffusers weights its first steps as if other steps had come before them"
_PLMS_PROBLEM = "when it starts from an image, diffusers' timesteps are one step ahead of the noise in the image"

_ANY_LAYOUT = (
    Sampler("Euler", "EulerDiscreteScheduler", {"interpolation_type": "linear", "final_sigmas_type": "zero"},
            flow_scheduler="FlowMatchEulerDiscreteScheduler"),
    Sampler("LMS", "LMSDiscreteScheduler", img2img_problem=_LMS_PROBLEM),
    Sampler("Heun", "HeunDiscreteScheduler", {"clip_sample": False}),
    Sampler("DPM2", "KDPM2DiscreteScheduler"),
    Sampler("DPM2 a", "KDPM2AncestralDiscreteScheduler"),
    Sampler("DPM++ 2M", _MULTISTEP, _MULTISTEP_CONFIG | {"algorithm_type": "dpmsolver++"}),
    Sampler("DPM++ SDE", "DPMSolverSDEScheduler"),
    Sampler("DPM++ 2M SDE", _MULTISTEP, _SDE_CONFIG),
    Sampler("DPM++ 2M SDE Heun", _MULTISTEP, _SDE_CONFIG | {"solver_type": "heun"}),
)  # fmt: skip
_OWN_LAYOUT = (
    Sampler("Euler a", "EulerAncestralDiscreteScheduler"),
    Sampler("DDIM", "DDIMScheduler", {"clip_sample": False, "thresholding": False}, even_steps=True),
    Sampler("PLMS", "PNDMScheduler", {"skip_prk_steps": True}, even_steps=True, img2img_problem=_PLMS_PROBLEM),
    Sampler("UniPC", "UniPCMultistepScheduler", _UNIPC_CONFIG),
    Sampler("LCM", "LCMScheduler", {"original_inference_steps": 50, "clip_sample": False, "thresholding": False},
            max_steps=50),
)  # fmt: skip

_LAYOUTS: Mapping[str, Mapping[str, Any]] = {
    "": _EVEN,
    " Karras": _EVEN | {"use_karras_sigmas": True, "timestep_spacing": "linspace"},
    " Exponential": _EVEN | {"use_exponential_sigmas": True, "timestep_spacing": "linspace"},
}
"""What each ending of a name sets. ``linspace`` covers the full range; a single step gets only the clean end."""


def _laid_out(sampler: Sampler, ending: str) -> Sampler:
    config = {**sampler.config, **_LAYOUTS[ending]}
    if not ending:
        return replace(sampler, config=config)
    min_steps = 1 if sampler.scheduler == _MULTISTEP else 2
    return replace(sampler, name=sampler.name + ending, config=config, min_steps=min_steps, flow_scheduler=None)


def _all() -> dict[str, Sampler]:
    euler, *others = (_laid_out(sampler, "") for sampler in _ANY_LAYOUT)
    uneven = (_laid_out(sampler, ending) for ending in list(_LAYOUTS)[1:] for sampler in _ANY_LAYOUT)
    ancestral, *rest = _OWN_LAYOUT
    return {sampler.name: sampler for sampler in (euler, ancestral, *others, *rest, *uneven)}


SAMPLERS: Mapping[str, Sampler] = MappingProxyType(_all())
"""The supported samplers by name, in the order of the listings."""

_NO_2S = "diffusers has no ancestral single-step DPM-Solver++; its DPMSolverSinglestepScheduler is another method"
_BAD_3M = "the third-order SDE step of diffusers 0.42.1 has a wrong sign, which leaves noise in the images"
_NO_LAYOUT = "diffusers' EulerAncestralDiscreteScheduler supports neither Karras nor exponential steps"
REFUSED: Mapping[str, str] = MappingProxyType({
    **{f"DPM++ 2S a{ending}": _NO_2S for ending in _LAYOUTS},
    **{f"DPM++ 3M SDE{ending}": _BAD_3M for ending in _LAYOUTS},
    **{f"Euler a{ending}": _NO_LAYOUT for ending in _LAYOUTS if ending},
    "DPM fast": "diffusers' DPMSolverSinglestepScheduler takes other steps than DPM-Solver-fast, with other step sizes",
    "DPM adaptive": "diffusers has no solver with adaptive step sizes",
})  # fmt: skip
"""Samplers of Prodia and A1111 without an equal in diffusers, and the reason."""

_SHORT = {"ancestral": "a", "karras": "ka", "exponential": "exp", "adaptive": "ad"}
_ENDINGS = {"uniform": "", "ka": " Karras", "exp": " Exponential"}
_AUTOMATIC = {
    "DPM2": " Karras", "DPM2 a": " Karras", "DPM++ 2S a": " Karras", "DPM++ 2M": " Karras", "DPM++ SDE": " Karras",
    "DPM++ 2M SDE": " Exponential", "DPM++ 2M SDE Heun": " Exponential", "DPM++ 3M SDE": " Exponential",
}  # fmt: skip
"""The layout that A1111's scheduler ``Automatic`` chooses; it is even for all other samplers."""


def _key(name: str) -> str:
    """A key that all spellings of a name share: ``DPM++ 2M Karras`` and ``k_dpmpp_2m_ka`` give ``dpmpp2mka``."""
    words = re.split(r"[\s_-]+", name.strip().lower().replace("++", "pp"))
    return "".join(_SHORT.get(word, word) for word in words[words[0] == "k" :])


_NAMES = {_key(name): name for name in (*SAMPLERS, *REFUSED)}


def find_sampler(name: str, scheduler: str | None = None) -> str | None:
    """The key in ``SAMPLERS`` or ``REFUSED`` for one of A1111's spellings of a sampler.

    Args:
        name: as ``DPM++ 2M Karras``, ``dpm++ 2m karras`` or ``k_dpmpp_2m_ka``.
        scheduler: A1111's name of the step layout: ``Karras``, ``Exponential``, ``Uniform`` or ``Automatic``.

    Returns:
        ``None`` if the sampler or the layout is unknown, or the two cannot be combined.
    """
    found = _NAMES.get(_key(name))
    if found is None or scheduler is None:
        return found
    if _key(scheduler) == "automatic":
        return found + _AUTOMATIC.get(found, "")
    ending = _ENDINGS.get(_key(scheduler))
    if ending is None or (ending == "" and found.endswith(tuple(_LAYOUTS)[1:])):
        return None
    return _NAMES.get(_key(found.removesuffix(ending) + ending))


def sampler_problem(
    name: str, *, num_inference_steps: int, kind: str = NOISE_SCHEDULE, img2img: bool = False
) -> str | None:
    """Why ``name`` cannot be used for an image, as text for the user; ``None`` if it can.

    Args:
        name: as in ``SAMPLERS``.
        num_inference_steps: as requested, before img2img skips some.
        kind: of the model, ``NOISE_SCHEDULE`` or ``FLOW_MATCHING``.
        img2img: whether the job starts from an image.
    """
    sampler = SAMPLERS.get(name)
    if name in REFUSED:
        return f"{name} cannot be used: {REFUSED[name]}"
    if sampler is None:
        return f"there is no sampler {name!r}; there are: {', '.join(SAMPLERS)}"
    if not sampler.serves(kind):
        able = ", ".join(each.name for each in SAMPLERS.values() if each.serves(kind))
        return f"{name} cannot draw with models of {kind}; these can: {able}"
    if img2img and sampler.img2img_problem is not None:
        return f"{name} cannot start from an image: {sampler.img2img_problem}"
    if num_inference_steps < sampler.min_steps:
        return f"{name} needs at least {sampler.min_steps} steps"
    if sampler.max_steps is not None and num_inference_steps > sampler.max_steps:
        return f"{name} takes at most {sampler.max_steps} steps"
    return None
