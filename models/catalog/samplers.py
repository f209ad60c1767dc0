"""The samplers by the names of Prodia and A1111: the noise scheduler of each, or why it is refused.

A1111 takes most of its solvers from k-diffusion (https://github.com/crowsonkb/k-diffusion, ``sampling.py``), so the
samplers are compared with these; docs/samplers.md has the results. Where diffusers lacks a solver, it is written in
``models.diffusion.solvers``. The checkpoint's scheduler configuration decides the positions of the steps, except for
names that end in one of ``LAYOUTS``, A1111's schedule types.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MappingProxyType
from typing import Any

from models.catalog.names import did_you_mean
from models.errors import quoted

NOISE_SCHEDULE = "noise schedule"
"""Models that were trained on a noise schedule given by betas: Stable Diffusion 1 and 2, SDXL."""
FLOW_MATCHING = "flow matching"
"""Models that were trained by flow matching, on the straight line from image to noise: Stable Diffusion 3, FLUX."""


LAYOUTS = (
    "Karras", "Exponential", "SGM Uniform", "Simple", "Normal", "DDIM", "Beta", "Align Your Steps", "KL Optimal",
)  # fmt: skip
"""The layouts of steps that a name can end in; :mod:`models.diffusion.layouts` has their formulas."""
_BUILT_IN = ("Karras", "Exponential")
"""The layouts that diffusers' schedulers have themselves."""


@dataclass(frozen=True)
class Sampler:
    """A solver and a layout of its steps.

    ``config`` overrides the checkpoint's scheduler configuration.
    """

    name: str
    scheduler: str
    """A class of diffusers, or of ``models.diffusion.solvers``."""
    config: Mapping[str, Any] = field(default_factory=dict)
    flow_scheduler: str | None = None
    """The class for flow-matching models, with the checkpoint's own configuration; ``None`` if there is none."""
    even_steps: bool = False
    """Whether each step covers ``num_train_timesteps // num_inference_steps`` timesteps, wherever the next starts."""
    min_steps: int = 1
    max_steps: int | None = None
    img2img_problem: str | None = None
    """Why it cannot start in the middle of its steps, as img2img needs; ``None`` if it can."""
    layout: str | None = None
    """One of ``LAYOUTS``; ``None`` leaves the positions of the steps to the checkpoint."""

    @property
    def solver(self) -> str:
        """The name without the layout."""
        return self.name if self.layout is None else self.name.removesuffix(f" {self.layout}")

    @property
    def adds_noise(self) -> bool:
        """Whether its steps add noise, so that ``eta`` would matter."""
        return self.solver.endswith(" a") or "SDE" in self.solver or self.solver in ("LCM", "Restart")

    @property
    def own_layout(self) -> str | None:
        """The layout, if diffusers' scheduler does not have it."""
        has_none = self.scheduler in _WITHOUT_LAYOUTS
        return self.layout if has_none or self.layout not in _BUILT_IN else None

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
_EULER_CONFIG = {"interpolation_type": "linear", "final_sigmas_type": "zero"}
_UNIPC_CONFIG = _EVEN | {
    "solver_order": 3, "solver_type": "bh1", "predict_x0": True, "lower_order_final": True,
    "final_sigmas_type": "sigma_min", "use_flow_sigmas": False, "thresholding": False,
}  # fmt: skip
"""A1111's defaults; ``bh1`` divides by zero if the last step ends without noise."""
_WITHOUT_LAYOUTS = ("LaidOutEulerAncestral", "LaidOutLCM")

_LMS_PROBLEM = "when it starts from an image, diffusers weights its first steps as if other steps had come before them"
_PLMS_PROBLEM = "when it starts from an image, diffusers' timesteps are one step ahead of the noise in the image"

_ANY_LAYOUT = (
    Sampler("Euler", "EulerDiscreteScheduler", _EULER_CONFIG, flow_scheduler="FlowMatchEulerDiscreteScheduler"),
    Sampler("LMS", "LMSDiscreteScheduler", img2img_problem=_LMS_PROBLEM),
    Sampler("Heun", "HeunDiscreteScheduler", {"clip_sample": False}),
    Sampler("DPM2", "KDPM2DiscreteScheduler"),
    Sampler("DPM2 a", "KDPM2AncestralDiscreteScheduler"),
    Sampler("DPM++ 2S a", "DPMSolver2SAncestral", _EULER_CONFIG),
    Sampler("DPM++ 2M", _MULTISTEP, _MULTISTEP_CONFIG | {"algorithm_type": "dpmsolver++"}),
    Sampler("DPM++ SDE", "DPMSolverSDE"),
    Sampler("DPM++ 2M SDE", _MULTISTEP, _SDE_CONFIG),
    Sampler("DPM++ 2M SDE Heun", _MULTISTEP, _SDE_CONFIG | {"solver_type": "heun"}),
    Sampler("DPM++ 3M SDE", "DPMSolver3MSDE", _EULER_CONFIG),
    Sampler("Restart", "Restart", _EULER_CONFIG),
)
_LCM_CONFIG = {"original_inference_steps": 50, "clip_sample": False, "thresholding": False}
_OWN_LAYOUT = (
    Sampler("Euler a", "EulerAncestralDiscreteScheduler"),
    Sampler("DDIM", "DDIMScheduler", {"clip_sample": False, "thresholding": False}, even_steps=True),
    Sampler("PLMS", "PNDMScheduler", {"skip_prk_steps": True}, even_steps=True, img2img_problem=_PLMS_PROBLEM),
    Sampler("UniPC", "UniPCMultistepScheduler", _UNIPC_CONFIG),
    Sampler("LCM", "LCMScheduler", _LCM_CONFIG, max_steps=50),
    Sampler("DPM fast", "DPMSolverFast", _EULER_CONFIG | _EVEN),
)
_LAID_OUT = (
    Sampler("Euler a", "LaidOutEulerAncestral"),
    Sampler("LCM", "LaidOutLCM", _LCM_CONFIG, max_steps=50),
)
"""What takes the place of diffusers' scheduler where a layout is named that it does not have."""


def _laid_out(sampler: Sampler, layout: str) -> Sampler:
    """``sampler`` with ``layout``. Its steps cover the full range (``linspace``)."""
    laid_out = replace(sampler, name=f"{sampler.name} {layout}", layout=layout, flow_scheduler=None)
    if sampler.scheduler in _WITHOUT_LAYOUTS:
        return replace(laid_out, config={**sampler.config, "timestep_spacing": "linspace"})
    # Diffusers' schedulers have a hook for exponential steps, which also takes the layouts that they do not have.
    flag = "use_karras_sigmas" if layout == "Karras" else "use_exponential_sigmas"
    config = {**sampler.config, **_EVEN, flag: True, "timestep_spacing": "linspace"}
    is_short = laid_out.own_layout is not None or sampler.scheduler == _MULTISTEP
    return replace(laid_out, config=config, min_steps=1 if is_short else 2)


def _all() -> dict[str, Sampler]:
    euler, *others = (replace(sampler, config={**sampler.config, **_EVEN}) for sampler in _ANY_LAYOUT)
    uneven = (_laid_out(sampler, layout) for layout in LAYOUTS for sampler in (*_ANY_LAYOUT, *_LAID_OUT))
    ancestral, *rest = _OWN_LAYOUT
    return {sampler.name: sampler for sampler in chain((euler, ancestral), others, rest, uneven)}


SAMPLERS: Mapping[str, Sampler] = MappingProxyType(_all())
"""The supported samplers by name, in the order of the listings."""
LISTED: Mapping[str, Sampler] = MappingProxyType(
    {name: sampler for name, sampler in SAMPLERS.items() if sampler.layout is None or sampler.layout in _BUILT_IN}
)
"""Those of the names that A1111 once listed, for lists that people choose from: no layout, Karras or Exponential."""

REFUSED: Mapping[str, str] = MappingProxyType({
    "DPM adaptive": "it chooses the number of its steps itself, and the engine must know the number of steps before",
})  # fmt: skip
"""Samplers of Prodia and A1111 that cannot be used, and the reason."""

_SHORT = {"ancestral": "a", "karras": "ka", "exponential": "exp", "polyexponential": "exp", "adaptive": "ad"}
_AUTOMATIC = {
    "DPM2": "Karras", "DPM2 a": "Karras", "DPM++ 2S a": "Karras", "DPM++ 2M": "Karras", "DPM++ SDE": "Karras",
    "DPM++ 2M SDE": "Exponential", "DPM++ 2M SDE Heun": "Exponential", "DPM++ 3M SDE": "Exponential",
    "Restart": "Karras",
}  # fmt: skip
"""The layout that A1111's scheduler ``Automatic`` chooses; it is even for all other samplers."""
_UNLAID = ("DDIM", "PLMS", "UniPC", "DPM fast", "DPM adaptive")
"""Samplers for which A1111's schedulers have no effect, in A1111 itself too."""


def _key(name: str) -> str:
    """A key that all spellings of a name share: ``DPM++ 2M Karras`` and ``k_dpmpp_2m_ka`` give ``dpmpp2mka``."""
    words = re.split(r"[\s_-]+", name.strip().lower().replace("++", "pp"))
    return "".join(_SHORT.get(word, word) for word in words[words[0] == "k" :])


_NAMES = {_key(name): name for name in (*SAMPLERS, *REFUSED)}
_LAYOUTS = {_key(layout): layout for layout in LAYOUTS}


def find_sampler(name: str, scheduler: str | None = None) -> str | None:
    """The key in ``SAMPLERS`` or ``REFUSED`` for one of A1111's spellings of a sampler.

    Args:
        name: as ``DPM++ 2M Karras``, ``dpm++ 2m karras`` or ``k_dpmpp_2m_ka``.
        scheduler: A1111's name of the step layout, in any spelling: one of ``LAYOUTS``, ``Polyexponential``, which is
            exponential with A1111's rho of 1, ``Uniform`` or ``Automatic``.

    Returns:
        ``None`` if the sampler or the layout is unknown, or the two cannot be combined.
    """
    found = _NAMES.get(_key(name))
    if found is None or scheduler is None:
        return found
    key, layout = _key(scheduler), SAMPLERS[found].layout if found in SAMPLERS else None
    if key == "automatic":
        chosen = _AUTOMATIC.get(found)
        return found if chosen is None else f"{found} {chosen}"
    if key == "uniform":
        return found if layout is None else None
    wanted = _LAYOUTS.get(key)
    if wanted is None or found in _UNLAID:
        return None if wanted is None else found
    if layout is not None:
        return found if layout == wanted else None
    return f"{found} {wanted}"


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
        return f"there is no sampler {quoted(name)}{did_you_mean(name, SAMPLERS)}; there are: {', '.join(SAMPLERS)}"
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
