"""Which family a scheduler belongs to, and the coefficients of all of its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import diffusers

from models.diffusion.stepping.ddim import DDIM
from models.diffusion.stepping.euler import Euler, EulerAncestral, FlowEuler
from models.diffusion.stepping.family import Coefficients, StepFamily, position
from models.diffusion.stepping.heun import Heun
from models.diffusion.stepping.lcm import LCM
from models.diffusion.stepping.multistep import Multistep
from models.diffusion.stepping.unipc import UniPC

_FAMILIES: Mapping[Callable[..., Any], StepFamily] = MappingProxyType({
    diffusers.EulerDiscreteScheduler.step: Euler(),
    diffusers.EulerAncestralDiscreteScheduler.step: EulerAncestral(),
    diffusers.FlowMatchEulerDiscreteScheduler.step: FlowEuler(),
    diffusers.HeunDiscreteScheduler.step: Heun(),
    diffusers.DPMSolverMultistepScheduler.step: Multistep(),
    diffusers.UniPCMultistepScheduler.step: UniPC(),
    diffusers.DDIMScheduler.step: DDIM(),
    diffusers.LCMScheduler.step: LCM(),
})  # fmt: skip
"""By the function that a family stands for: a subclass that only lays out its steps differently has the same one."""

_SCALED_BY_SIGMA = (
    diffusers.EulerDiscreteScheduler.scale_model_input,
    diffusers.EulerAncestralDiscreteScheduler.scale_model_input,
    diffusers.HeunDiscreteScheduler.scale_model_input,
    diffusers.LMSDiscreteScheduler.scale_model_input,
)
"""The functions that divide latents with noise sigma by ``(sigma**2 + 1) ** 0.5``."""
_UNSCALED = (
    diffusers.DPMSolverMultistepScheduler.scale_model_input,
    diffusers.UniPCMultistepScheduler.scale_model_input,
    diffusers.DDIMScheduler.scale_model_input,
    diffusers.LCMScheduler.scale_model_input,
    diffusers.PNDMScheduler.scale_model_input,
    None,
)
"""The functions that leave the latents as they are; schedulers for flow matching have none."""


@dataclass(frozen=True)
class StepTable:
    """The coefficients of all steps of one scheduler, whose timesteps are set."""

    family: StepFamily | None
    """``None`` if the scheduler must step by itself."""
    rows: Mapping[int, Coefficients]
    """By the family's key; empty without a family."""
    divisors: Sequence[float] | None
    """What the latents are divided by for each call of the model, or empty if they are given to it as they are.

    ``None`` if the scheduler must scale them itself.
    """

    @classmethod
    def of(cls, scheduler: Any) -> StepTable:
        """Compute all coefficients of ``scheduler``."""
        family = _FAMILIES.get(type(scheduler).step)
        if family is not None and not family.covers(scheduler):
            family = None
        return cls(family, {} if family is None else family.table(scheduler), _divisors(scheduler))

    def coefficients(self, scheduler: Any, timestep: float) -> Coefficients:
        """The coefficients of the next step of ``scheduler``, which begins at ``timestep``.

        Raises:
            LookupError: there is no such step.
        """
        assert self.family is not None
        return self.family.adjusted(scheduler, self.rows[self.family.key(scheduler, timestep)])

    def divisor(self, scheduler: Any) -> float:
        """What the latents are divided by for the next call of the model; marks them as scaled, as the scheduler does.

        Raises:
            LookupError: there is no such call.
        """
        if not self.divisors:
            return 1.0
        index = scheduler._step_index = position(scheduler)
        scheduler.is_scale_input_called = True
        return self.divisors[index]


def _divisors(scheduler: Any) -> Sequence[float] | None:
    function = getattr(type(scheduler), "scale_model_input", None)
    if function not in _SCALED_BY_SIGMA:
        return () if function in _UNSCALED else None
    divisors: list[float] = ((scheduler.sigmas**2 + 1) ** 0.5).tolist()
    return divisors
