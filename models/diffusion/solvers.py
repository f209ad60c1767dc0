"""Solvers that diffusers lacks, as its schedulers: plain pipelines can use them too.

All but the last three work on latents to which noise of standard deviation sigma was added, as
``EulerDiscreteScheduler`` does, which lays out their steps. Each call of the model gets the timestep of its noise.
Where a step has several calls, ``timesteps`` has one for each, and ``step`` returns the latents for the next call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverSDEScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, LCMScheduler
from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import ArrayLike, NDArray

from models.diffusion.layouts import trained_sigmas
from models.diffusion.restarts import restarted


class Solver(EulerDiscreteScheduler):
    """The base: one call of the model for each entry of ``calls``, at that sigma."""

    calls: list[float]
    """The noise of the latents at each call, and at last that of the finished latents."""
    sigmas: torch.Tensor
    """The same as a tensor."""

    def set_timesteps(self, num_inference_steps: int, device: torch.device | None = None, **options: Any) -> None:
        """Lay the steps out, and then the calls of the model."""
        super().set_timesteps(num_inference_steps, device, **options)
        self.calls = self._calls([float(each) for each in self.sigmas])
        self.sigmas = torch.tensor(self.calls)
        self.timesteps = torch.tensor(timesteps_of(self, self.calls[:-1]), dtype=torch.float32, device=device)
        self._forget()

    def _calls(self, sigmas: list[float]) -> list[float]:
        """The calls for steps between ``sigmas``, which fall to zero."""
        return sigmas

    def _forget(self) -> None:
        """Forget what earlier steps left."""

    def step(
        self,
        model_output: torch.Tensor,
        timestep: float | torch.Tensor,
        sample: torch.Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> tuple[torch.Tensor, ...]:
        """The latents for the next call, after the call at ``timestep``; always a tuple."""
        if self.step_index is None:
            self._init_step_index(timestep)
        index = self.step_index
        latents = sample.to(torch.float32)
        denoised = self._denoised(model_output.to(torch.float32), latents, self.calls[index])
        self._generator = generator
        following = self._advance(latents, denoised, index).to(model_output.dtype)
        self._step_index += 1
        return (following,)

    def _advance(self, latents: torch.Tensor, denoised: torch.Tensor, index: int) -> torch.Tensor:
        """The latents for the call after the one with ``index``, whose outcome is ``denoised``."""
        raise NotImplementedError

    def _denoised(self, output: torch.Tensor, latents: torch.Tensor, sigma: float) -> torch.Tensor:
        """The image that the model's ``output`` stands for."""
        match self.config.prediction_type:
            case "epsilon":
                return latents - sigma * output
            case "v_prediction":
                return latents / (sigma**2 + 1) - output * sigma / math.sqrt(sigma**2 + 1)
            case _:
                return output

    def _noise(self, like: torch.Tensor) -> torch.Tensor:
        noise: torch.Tensor = randn_tensor(like.shape, generator=self._generator, device=like.device, dtype=like.dtype)
        return noise


class DPMSolver2SAncestral(Solver):
    """DPM-Solver++(2S) with ancestral noise: Lu et al. 2022, arXiv 2211.01095, algorithm 1, with r = 1/2.

    As ``sample_dpmpp_2s_ancestral`` of k-diffusion.
    """

    order = 2

    def _forget(self) -> None:
        self._start: torch.Tensor | None = None

    def _calls(self, sigmas: list[float]) -> list[float]:
        calls: list[float] = []
        for now, then in pairwise(sigmas):
            down, _ = ancestral(now, then)
            calls += [now, math.sqrt(now * down)] if down else [now]
        return [*calls, 0.0]

    def _advance(self, latents: torch.Tensor, denoised: torch.Tensor, index: int) -> torch.Tensor:
        now = self.calls[index]
        if self._start is None:
            middle = self.calls[index + 1]
            self._start = latents if middle else None
            return denoised + (latents - denoised) * (middle / now)
        start, self._start = self._start, None
        begin, then = self.calls[index - 1], self.calls[index + 1]
        down, up = ancestral(begin, then)
        return denoised + (start - denoised) * (down / begin) + up * self._noise(start)


class DPMSolver3MSDE(Solver):
    """SDE-DPM-Solver++ of the third order, multistep, as ``sample_dpmpp_3m_sde`` of k-diffusion with ``eta`` 1."""

    def _forget(self) -> None:
        self._earlier: list[tuple[torch.Tensor, float]] = []
        """The outcomes of the last calls and the widths of their steps, the latest first."""

    def _advance(self, latents: torch.Tensor, denoised: torch.Tensor, index: int) -> torch.Tensor:
        now, then = self.calls[index], self.calls[index + 1]
        if not then:
            return denoised
        width = math.log(now / then)
        following = denoised + (latents - denoised) * math.exp(-2 * width) + self._correction(denoised, width)
        self._earlier = [(denoised, width), *self._earlier[:1]]
        return following + self._noise(latents) * then * math.sqrt(-math.expm1(-2 * width))

    def _correction(self, denoised: torch.Tensor, width: float) -> torch.Tensor | float:
        """What the earlier outcomes add, for the second and the third order."""
        second = math.expm1(-2 * width) / (2 * width) + 1
        match self._earlier:
            case []:
                return 0.0
            case [(before, width_before)]:
                return second * (denoised - before) * (width / width_before)
        (before, width_before), (first, first_width) = self._earlier
        near, far = width_before / width, first_width / width
        near_slope, far_slope = (denoised - before) / near, (before - first) / far
        curve = (near_slope - far_slope) / (near + far)
        return second * (near_slope + curve * near) - (second / (2 * width) - 0.5) * curve


class Restart(Solver):
    """Heun's method with restarts: Xu et al. 2023, arXiv 2306.14878; as ``restart_sampler`` of A1111.

    From 20 steps on, a part of the steps goes back from little noise to more noise and down again, once, or from 36
    steps on, twice; the steps are Karras' then, whatever the layout.
    """

    order = 2

    def _forget(self) -> None:
        self._start: tuple[torch.Tensor, torch.Tensor] | None = None

    def _calls(self, sigmas: list[float]) -> list[float]:
        pairs = restarted(sigmas)
        calls = [sigma for now, then in pairs for sigma in ((now, then) if then else (now,))]
        return [*calls, 0.0]

    def _advance(self, latents: torch.Tensor, denoised: torch.Tensor, index: int) -> torch.Tensor:
        now, then = self.calls[index], self.calls[index + 1]
        if self._start is None:
            slope = (latents - denoised) / now
            self._start = (latents, slope) if then else None
            return latents + (then - now) * slope
        (start, slope), self._start = self._start, None
        slope = (slope + (latents - denoised) / now) / 2
        following = start + (now - self.calls[index - 1]) * slope
        if then > now:
            following = following + self._noise(start) * math.sqrt(then**2 - now**2)
        return following


class DPMSolverFast(Solver):
    """DPM-Solver-fast: Lu et al. 2022, arXiv 2206.00927, section 3.4; as ``sample_dpm_fast`` of k-diffusion.

    ``num_inference_steps`` counts calls of the model. The steps have order three, but for the last ones, and end at the
    cleanest trained noise.
    """

    def _forget(self) -> None:
        self._slopes: list[torch.Tensor] = []
        """The slopes of the current step, the first call's first."""

    def _calls(self, sigmas: list[float]) -> list[float]:
        trained, count = trained_sigmas(self), len(sigmas) - 1
        steps = count // 3 + 1
        left = [2, 1] if count % 3 == 0 else [count % 3]
        orders = [3] * (steps - len(left)) + left
        ends = np.exp(np.linspace(np.log(trained[-1]), np.log(trained[0]), steps + 1))
        calls: list[float] = []
        self._place: list[tuple[int, int]] = []
        for order, now, then in zip(orders, ends[:-1], ends[1:], strict=True):
            calls += [float(now * (then / now) ** (part / order)) for part in range(order)]
            self._place += [(order, part) for part in range(order)]
        return [*calls, float(ends[-1])]

    def _advance(self, latents: torch.Tensor, denoised: torch.Tensor, index: int) -> torch.Tensor:
        order, part = self._place[index]
        if part and not self._slopes:  # begun within a step: what is left of it is a step of a lower order
            left = order - part
            self._place[index : index + left] = [(left, number) for number in range(left)]
            order, part = left, 0
        begin, then = self.calls[index - part], self.calls[index + 1]
        if part == 0:
            self._start = latents
            self._slopes = []
        self._slopes.append((latents - denoised) / self.calls[index])
        first, *later = self._slopes
        width = math.log(begin / then)  # from the start of the step to the next call
        following = self._start - then * math.expm1(width) * first
        if not later:
            return following
        if order == 2:
            return following - then * math.expm1(width) * (later[0] - first)
        # The second call of a step of order three lies at a third of it, the third call at two thirds.
        reach = 2.0 if part == 1 else 1.5
        return following - then * reach * (math.expm1(width) / width - 1) * (later[-1] - first)


class LaidOutEulerAncestral(EulerAncestralDiscreteScheduler):
    """diffusers' scheduler for Euler a, for layouts of steps."""

    def set_timesteps(self, num_inference_steps: int, device: torch.device | None = None) -> None:
        """Replace the sigmas of the base by those of the layout."""
        super().set_timesteps(num_inference_steps, device)
        sigmas = self._convert_to_exponential(in_sigmas=None, num_inference_steps=num_inference_steps)
        self.sigmas = torch.tensor([*sigmas, 0.0], dtype=torch.float32)
        self.timesteps = torch.tensor(timesteps_of(self, sigmas), dtype=torch.float32, device=device)


class LaidOutLCM(LCMScheduler):
    """diffusers' scheduler for LCM, for layouts of steps; its timesteps are whole numbers."""

    def set_timesteps(self, num_inference_steps: int, device: torch.device | None = None, **options: Any) -> None:
        """Replace the timesteps of the base by those of the layout."""
        super().set_timesteps(num_inference_steps, device, **options)
        sigmas = self._convert_to_exponential(in_sigmas=None, num_inference_steps=num_inference_steps)
        self.timesteps = torch.tensor(timesteps_of(self, sigmas).round(), dtype=torch.int64, device=device)


class DPMSolverSDE(DPMSolverSDEScheduler):
    """diffusers' scheduler for DPM++ SDE, with its noise drawn on the CPU, so that every device gets the same."""

    noise_sampler: Any

    def set_timesteps(self, *arguments: Any, **options: Any) -> None:
        """As the base, and forget the noise that was drawn."""
        super().set_timesteps(*arguments, **options)
        self._drawn: list[tuple[float, float]] = []
        """The noise levels between which noise was drawn; what a Brownian tree gives depends on what it gave before."""

    def step(
        self, model_output: torch.Tensor, timestep: float | torch.Tensor, sample: torch.Tensor, return_dict: bool = True
    ) -> Any:
        """As the base, which draws on the device of ``sample``."""
        if self.noise_sampler is None:
            self.noise_sampler = self._noise_on_cpu(sample)
        return super().step(model_output, timestep, sample, return_dict)

    def _noise_on_cpu(self, sample: torch.Tensor) -> Callable[[float, float], torch.Tensor]:
        """From two noise levels to the noise between them, on the device of ``sample``."""
        low, high = float(self.sigmas[self.sigmas > 0].min()), float(self.sigmas.max())
        tree = BrownianTreeNoiseSampler(torch.empty_like(sample, device="cpu"), low, high, self.noise_sampler_seed)
        for levels in self._drawn:  # by the scheduler whose state this one has taken over
            tree(*levels)

        def draw(sigma: float, following: float) -> torch.Tensor:
            self._drawn.append((float(sigma), float(following)))
            noise: torch.Tensor = tree(sigma, following)
            return noise.to(sample.device)

        return draw


def timesteps_of(scheduler: Any, sigmas: ArrayLike) -> NDArray[np.float64]:
    """The trained timesteps whose noise is ``sigmas``, interpolated in logarithms."""
    trained = np.log(trained_sigmas(scheduler))
    return np.asarray(np.interp(np.log(sigmas), trained, np.arange(len(trained))))


def ancestral(now: float, then: float) -> tuple[float, float]:
    """How far down a step from ``now`` to ``then`` goes, and the noise that is added after it; k-diffusion, eta 1."""
    up = min(then, math.sqrt(then**2 * (now**2 - then**2) / now**2))
    return math.sqrt(then**2 - up**2), up
