"""Noise schedules: what a checkpoint was trained on, and where the steps of an image lie in it; as in diffusers.

The settings are those of a checkpoint's ``scheduler_config.json``; one that is missing has diffusers' default.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from photogram_runtime.errors import PackageUnsupported

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

EPSILON, VELOCITY, SAMPLE = "epsilon", "v_prediction", "sample"
"""What a denoiser predicts: the noise, the velocity, or the latents without noise."""
LEADING, TRAILING, LINSPACE = "leading", "trailing", "linspace"
"""Where the steps lie: Lin et al. 2023, arXiv 2305.08891, table 2."""
_LINEAR, _SCALED_LINEAR = "linear", "scaled_linear"
_RHO = 7.0
_MIN_ALPHA = 2.0**-24
"""The share of signal where nothing but noise is left, for solvers that divide by it."""
_TRAINED_MAX = 100_000


@dataclass(frozen=True)
class Schedule:
    """The noise that a checkpoint was trained on."""

    config: Mapping[str, Any]
    """The checkpoint's ``scheduler_config.json``."""
    alphas: Floats
    """[trained timesteps], the share of signal in the variance (``alphas_cumprod``), falling."""
    prediction: str
    """One of :data:`EPSILON`, :data:`VELOCITY` and :data:`SAMPLE`."""
    offset: int
    """By how much :data:`LEADING` steps are shifted."""

    @property
    def trained(self) -> int:
        """The number of trained timesteps."""
        return len(self.alphas)

    @property
    def sigmas(self) -> Floats:
        """[trained timesteps], the noise beside a signal of variance 1, rising."""
        alphas = self.alphas.copy()
        if self.config.get("rescale_betas_zero_snr"):
            alphas[-1] = _MIN_ALPHA
        return np.asarray(np.sqrt((1 - alphas) / alphas))

    def spacing(self, default: str) -> str:
        """Where the steps lie: :data:`LEADING`, :data:`TRAILING` or :data:`LINSPACE`.

        Args:
            default: that of diffusers' class, for checkpoints that do not say.
        """
        return require(self.config, "timestep_spacing", default, (LEADING, TRAILING, LINSPACE))


def require(config: Mapping[str, Any], name: str, default: str, known: Collection[str]) -> str:
    """The setting ``name``, which must be one of ``known``.

    Raises:
        PackageUnsupported: it is another one.
    """
    value = config.get(name, default)
    if value not in known:
        raise PackageUnsupported(f"photogram-runtime knows no noise schedule with {name} {value!r}")
    return str(value)


def read_schedule(config: Mapping[str, Any]) -> Schedule:
    """The schedule of a checkpoint whose ``scheduler_config.json`` is ``config``.

    Raises:
        PackageUnsupported: it has a setting that cannot be computed here.
        TypeError, ValueError: a setting is of the wrong type.
    """
    prediction = require(config, "prediction_type", EPSILON, (EPSILON, VELOCITY, SAMPLE))
    return Schedule(config, _shares(_betas(config)), prediction, int(config.get("steps_offset", 0)))


def _shares(betas: Floats) -> Floats:
    return np.cumprod(np.float32(1) - betas, dtype=np.float64).astype(np.float32)


def _betas(config: Mapping[str, Any]) -> Floats:
    if config.get("trained_betas") is not None:
        betas = np.asarray(config["trained_betas"], np.float32)
    else:
        betas = _named_betas(config)
    return _without_signal_at_the_end(betas) if config.get("rescale_betas_zero_snr") else betas


def _named_betas(config: Mapping[str, Any]) -> Floats:
    count = int(config.get("num_train_timesteps", 1000))
    if not 1 <= count <= _TRAINED_MAX:
        raise PackageUnsupported(f"the noise schedule has {count} timesteps, and must have 1 to {_TRAINED_MAX}")
    start, end = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    if require(config, "beta_schedule", _LINEAR, (_LINEAR, _SCALED_LINEAR)) == _LINEAR:
        return np.linspace(start, end, count, dtype=np.float32)
    return np.linspace(start**0.5, end**0.5, count, dtype=np.float32) ** 2


def _without_signal_at_the_end(betas: Floats) -> Floats:
    """Zero terminal signal-to-noise ratio: Lin et al. 2023, arXiv 2305.08891, algorithm 1."""
    roots = np.sqrt(_shares(betas))
    first, last = roots[0], roots[-1]
    shares = ((roots - last) * (first / (first - last))) ** 2
    return np.asarray(1 - np.concatenate([shares[:1], shares[1:] / shares[:-1]]))


def spaced(schedule: Schedule, steps: int, spacing: str) -> Doubles:
    """[steps], the timesteps of DDIM and Euler, falling; those of :data:`LINSPACE` are not whole numbers."""
    trained = schedule.trained
    match spacing:
        case "linspace":
            return np.linspace(0, trained - 1, steps)[::-1]
        case "leading":
            return (np.arange(steps) * (trained // steps))[::-1].astype(np.float64) + schedule.offset
        case _:
            return np.asarray(np.arange(trained, 0, -trained / steps).round() - 1)


def spaced_before_the_end(schedule: Schedule, steps: int, spacing: str) -> Doubles:
    """[steps], the timesteps of DPM++, whole numbers, falling; one further would be the clean end."""
    lowest = float(schedule.config.get("lambda_min_clipped", -math.inf))
    last = schedule.trained - int(np.searchsorted(-np.log(schedule.sigmas[::-1]), lowest))
    match spacing:
        case "linspace":
            return np.asarray(np.linspace(0, last - 1, steps + 1).round()[::-1][:-1])
        case "leading":
            return (np.arange(steps + 1) * (last // (steps + 1)))[::-1][:-1].astype(np.float64) + schedule.offset
        case _:
            return np.asarray(np.arange(last, 0, -schedule.trained / steps).round() - 1)


def sigmas_at(schedule: Schedule, timesteps: Doubles) -> Doubles:
    """The noise at ``timesteps``, interpolated linearly."""
    return np.interp(timesteps, np.arange(schedule.trained), schedule.sigmas)


def timesteps_at(schedule: Schedule, sigmas: Doubles) -> Doubles:
    """The timesteps with the noise ``sigmas``, interpolated in logarithms; not whole numbers."""
    return np.interp(np.log(sigmas), np.log(schedule.sigmas), np.arange(schedule.trained))


def karras(schedule: Schedule, low: float, high: float, steps: int) -> Doubles:
    """[steps], noise from ``high`` to ``low``, or between the ends that the checkpoint's configuration gives.

    Karras et al. 2022, arXiv 2206.00364, equation 5.
    """
    own_low, own_high = schedule.config.get("sigma_min"), schedule.config.get("sigma_max")
    low, high = float(low if own_low is None else own_low), float(high if own_high is None else own_high)
    return np.asarray(np.linspace(high ** (1 / _RHO), low ** (1 / _RHO), steps) ** _RHO)
