"""Samplers in NumPy, each equal to the service's of the same name, which are noise schedulers of diffusers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np

from photogram_runtime.errors import InvalidRequest, PackageUnsupported
from photogram_runtime.noise import Noise
from photogram_runtime.schedules import (
    EPSILON,
    LEADING,
    LINSPACE,
    SAMPLE,
    VELOCITY,
    Doubles,
    Floats,
    Schedule,
    karras,
    require,
    sigmas_at,
    spaced,
    spaced_before_the_end,
    timesteps_at,
)


class Sampler(Protocol):
    """The steps of one image; holds state, so each image has its own. Arrays of latents are float32."""

    timesteps: Doubles
    """One for each call of the denoiser, falling."""
    initial_sigma: float
    """The standard deviation of the latents before the first step."""

    def scale(self, latents: Floats, step: int) -> Floats:
        """The latents, as the denoiser takes them in the step with this index."""

    def step(self, prediction: Floats, latents: Floats, step: int, noise: Noise) -> Floats:
        """The latents after the step with this index, from the denoiser's ``prediction`` after guidance.

        Args:
            noise: the image's stream, from which a random sampler takes more.
        """


def clean(prediction: Floats, scaled: Floats, alpha: float, kind: str) -> Floats:
    """The latents without noise that a ``prediction`` for ``scaled`` latents of variance 1 implies.

    Epsilon: DDIM, Song et al. 2020, arXiv 2010.02502, equation 12. Velocity: Salimans and Ho 2022, arXiv 2202.00512,
    appendix D.

    Args:
        alpha: the share of signal in the variance.
        kind: what is predicted.
    """
    signal, sigma = math.sqrt(alpha), math.sqrt(1 - alpha)
    if kind == EPSILON:
        return np.asarray((scaled - sigma * prediction) / np.float32(signal), np.float32)
    return np.asarray(signal * scaled - sigma * prediction if kind == VELOCITY else prediction, np.float32)


class Ddim:
    """DDIM without noise: Song et al. 2020, arXiv 2010.02502, equation 12."""

    initial_sigma = 1.0

    def __init__(self, schedule: Schedule, steps: int) -> None:
        spacing = schedule.spacing(LEADING)
        # With even ("linspace") timesteps a step would not end where the next begins, and the service takes others too.
        self.timesteps = spaced(schedule, steps, LEADING if spacing == LINSPACE else spacing)
        if self.timesteps[0] >= schedule.trained:
            raise InvalidRequest(f"DDIM cannot take {steps} steps with this model")
        self._schedule, self._stride = schedule, schedule.trained // steps

    def scale(self, latents: Floats, step: int) -> Floats:
        """See :class:`Sampler`."""
        return latents

    def step(self, prediction: Floats, latents: Floats, step: int, noise: Noise) -> Floats:
        """See :class:`Sampler`."""
        timestep = int(self.timesteps[step])
        alpha, after = float(self._schedule.alphas[timestep]), self._alpha_at(timestep - self._stride)
        original = clean(prediction, latents, alpha, self._schedule.prediction)
        epsilon = self._epsilon(prediction, latents, alpha)
        return math.sqrt(after) * original + math.sqrt(1 - after) * epsilon

    def _alpha_at(self, timestep: int) -> float:
        alphas = self._schedule.alphas
        if timestep >= 0:
            return float(alphas[timestep])
        return 1.0 if self._schedule.config.get("set_alpha_to_one", True) else float(alphas[0])

    def _epsilon(self, prediction: Floats, latents: Floats, alpha: float) -> Floats:
        signal, sigma = math.sqrt(alpha), math.sqrt(1 - alpha)
        match self._schedule.prediction:
            case "epsilon":
                return prediction
            case "v_prediction":
                return np.asarray(signal * prediction + sigma * latents, np.float32)
            case _:
                return np.asarray((latents - signal * prediction) / np.float32(sigma), np.float32)


class Euler:
    """Euler's method, as in Karras et al. 2022, arXiv 2206.00364, algorithm 2 without churn.

    Where nothing but noise is left, the latents are some thousand times as large as an image's, so that the order of
    the operations decides digits that can be seen; it is that of diffusers, in float32.
    """

    def __init__(self, schedule: Schedule, steps: int, *, is_karras: bool = False) -> None:
        require(schedule.config, "timestep_type", "discrete", ("discrete",))
        spacing = LINSPACE if is_karras else schedule.spacing(LINSPACE)
        self.timesteps = spaced(schedule, steps, spacing)
        sigmas = sigmas_at(schedule, self.timesteps)
        if is_karras:
            sigmas = karras(schedule, sigmas[-1], sigmas[0], steps)
            self.timesteps = timesteps_at(schedule, sigmas)
        self._sigmas, self._prediction = np.append(sigmas, 0).astype(np.float32), schedule.prediction
        highest = self._sigmas.max()
        self.initial_sigma = float(np.sqrt(highest**2 + 1) if spacing == LEADING else highest)

    def scale(self, latents: Floats, step: int) -> Floats:
        """See :class:`Sampler`."""
        return np.asarray(latents / np.sqrt(self._sigmas[step] ** 2 + 1))

    def step(self, prediction: Floats, latents: Floats, step: int, noise: Noise) -> Floats:
        """See :class:`Sampler`."""
        return self._towards(self._sigmas[step + 1], prediction, latents, step)

    def _towards(self, sigma: np.float32, prediction: Floats, latents: Floats, step: int) -> Floats:
        """The latents with less noise, ``sigma``."""
        now = self._sigmas[step]
        slope = (latents - self._original(prediction, latents, now)) / now
        return np.asarray(latents + slope * (sigma - now))

    def _original(self, prediction: Floats, latents: Floats, sigma: np.float32) -> Floats:
        """The latents without noise that the prediction implies."""
        match self._prediction:
            case "epsilon":
                return np.asarray(latents - sigma * prediction)
            case "v_prediction":
                return np.asarray(prediction * (-sigma / np.sqrt(sigma**2 + 1)) + latents / (sigma**2 + 1))
            case _:
                return prediction


class EulerAncestral(Euler):
    """Euler's method with new noise in each step, as in k-diffusion (``sample_euler_ancestral``)."""

    def __init__(self, schedule: Schedule, steps: int) -> None:
        if schedule.prediction == SAMPLE:
            raise PackageUnsupported("Euler a cannot draw with a model that predicts the latents themselves")
        super().__init__(schedule, steps)

    def step(self, prediction: Floats, latents: Floats, step: int, noise: Noise) -> Floats:
        """See :class:`Sampler`."""
        now, after = self._sigmas[step], self._sigmas[step + 1]
        added = np.sqrt(after**2 * (now**2 - after**2) / now**2)
        moved = self._towards(np.sqrt(after**2 - added**2), prediction, latents, step)
        return np.asarray(moved + added * noise.normal(latents.shape))


class MultistepDpm:
    """DPM-Solver++(2M): Lu et al. 2022, arXiv 2211.01095, algorithm 2."""

    initial_sigma = 1.0

    def __init__(self, schedule: Schedule, steps: int, *, is_karras: bool = False) -> None:
        if schedule.config.get("variance_type") is not None:
            raise PackageUnsupported("photogram-runtime cannot draw with models that predict a variance too")
        self._prediction = schedule.prediction
        if is_karras:
            sigmas = karras(schedule, schedule.sigmas[0], schedule.sigmas[-1], steps)
            self.timesteps = timesteps_at(schedule, sigmas).round()
        else:
            self.timesteps = spaced_before_the_end(schedule, steps, schedule.spacing(LINSPACE))
            sigmas = sigmas_at(schedule, self.timesteps)
        if np.any(np.diff(sigmas) >= 0):
            raise InvalidRequest(f"DPM++ 2M cannot take {steps} steps with this model")
        self._sigmas = [*map(float, sigmas), 0.0]
        self._before: Floats | None = None
        """The latents without noise that the last prediction implied."""

    def scale(self, latents: Floats, step: int) -> Floats:
        """See :class:`Sampler`."""
        return latents

    def step(self, prediction: Floats, latents: Floats, step: int, noise: Noise) -> Floats:
        """See :class:`Sampler`."""
        now, after = self._sigmas[step], self._sigmas[step + 1]
        original = clean(prediction, latents, 1 / (now**2 + 1), self._prediction)
        slope = original
        if self._before is not None and after > 0:
            ratio = math.log(now / after) / math.log(self._sigmas[step - 1] / now)
            slope = original + ratio / 2 * (original - self._before)
        self._before = original
        kept = after / now * math.sqrt((now**2 + 1) / (after**2 + 1))
        return kept * latents + (1 - after / now) / math.sqrt(after**2 + 1) * slope


def _euler_karras(schedule: Schedule, steps: int) -> Sampler:
    return Euler(schedule, steps, is_karras=True)


def _dpm_karras(schedule: Schedule, steps: int) -> Sampler:
    return MultistepDpm(schedule, steps, is_karras=True)


SAMPLERS: Mapping[str, Callable[[Schedule, int], Sampler]] = MappingProxyType({
    "Euler": Euler, "Euler a": EulerAncestral, "DDIM": Ddim, "DPM++ 2M": MultistepDpm, "Euler Karras": _euler_karras,
    "DPM++ 2M Karras": _dpm_karras,
})  # fmt: skip
"""By the service's names (docs/samplers.md); each makes the steps of one image."""
_TWO_STEPS = ("Euler Karras",)


def build_sampler(name: str, schedule: Schedule, steps: int) -> Sampler:
    """The ``steps`` of one image by the sampler ``name``.

    Raises:
        InvalidRequest: there is no such sampler here, or it cannot take so many steps.
        PackageUnsupported: the sampler cannot draw with this model.
    """
    if name not in SAMPLERS:
        raise InvalidRequest(f"photogram-runtime has no sampler {name!r:.60}; it has {', '.join(SAMPLERS)}")
    least = 2 if name in _TWO_STEPS else 1
    if not least <= steps <= schedule.trained:
        raise InvalidRequest(f"{name} takes {least} to {schedule.trained} steps with this model, not {steps}")
    return SAMPLERS[name](schedule, steps)
