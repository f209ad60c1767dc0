"""Layouts of steps: where the steps of a sampler lie, for those of A1111's schedule types that diffusers lacks.

A layout gives the noise levels (sigmas) at which the steps begin, from the noisiest to the cleanest; the last step ends
without noise. The formulas are those of A1111 (``modules/sd_schedulers.py``), with two exceptions that keep the number
of steps at what was asked for: ``DDIM`` leaves out A1111's additional steps where 1000 is no multiple of the number,
and ``KL Optimal`` ends without noise, as in ComfyUI.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Sigmas = NDArray[np.float64]
Layout = Callable[[Sigmas, int, bool], Sigmas]
"""From the trained sigmas, rising, the number of steps, and whether the model is an SDXL, to so many falling sigmas."""

_RHO = 7.0
_BETA = 0.6
_AYS = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
_AYS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)
"""Sabour et al. 2024, arXiv 2404.14507; the numbers are those of its quick start (research.nvidia.com/labs/toronto-ai/
AlignYourSteps/howto.html), for Stable Diffusion 1.5 and for SDXL."""
_NEAR = 0.01
"""A trained range whose ends differ by less than this share from those of the table is the range of the table."""
_MIN_ALPHA = 2.0**-24
"""Where nothing but noise is left (zero terminal SNR), diffusers' schedulers have this share of signal."""


def _karras(trained: Sigmas, steps: int, is_sdxl: bool) -> Sigmas:
    return karras(trained[0], trained[-1], steps)


def karras(low: float, high: float, steps: int) -> Sigmas:
    """So many sigmas from ``high`` to ``low``: Karras et al. 2022, arXiv 2206.00364, equation 5."""
    return np.asarray(np.linspace(high ** (1 / _RHO), low ** (1 / _RHO), steps) ** _RHO)


def _exponential(trained: Sigmas, steps: int, is_sdxl: bool) -> Sigmas:
    return np.exp(np.linspace(np.log(trained[-1]), np.log(trained[0]), steps))


def _sgm_uniform(trained: Sigmas, steps: int, is_sdxl: bool) -> Sigmas:
    """Even timesteps, of which the last, clean one is left out; as in Stability AI's generative-models."""
    return _at(trained, np.linspace(len(trained) - 1, 0, steps + 1)[:-1])


def _simple(trained: Sigmas, steps: int, is_sdxl: bool) -> Sigmas:
    backwards = 1 + (np.arange(steps) * (len(trained) / steps)).astype(int)
    return np.asarray(trained[-backwards])


def _normal(trained: Sigmas, steps: int, is_sdxl: bool) -> Sigmas:
    """Even timesteps from the noisiest to the cleanest."""
    return _at(trained, np.linspace(len(trained) - 1, 0, steps))


def _ddim(trained: Sigmas, steps: int, is_sdxl: bool) -> Sigmas:
    """Timesteps of a whole number apart, from the second cleanest one on; Song et al. 2020, arXiv 2010.02502."""
    stride = max(len(trained) // steps, 1)
    return trained[np.minimum(1 + stride * np.arange(steps), len(trained) - 1)][::-1]


def _beta(trained: Sigmas, steps: int, is_sdxl: bool) -> Sigmas:
    """Quantiles of a beta distribution; Lee et al. 2024, arXiv 2407.12173."""
    parts = betaincinv(_BETA, _BETA, 1 - np.linspace(0, 1, steps))
    return np.asarray(trained[0] + parts * (trained[-1] - trained[0]))


def _align_your_steps(trained: Sigmas, steps: int, is_sdxl: bool) -> Sigmas:
    """The table, interpolated linearly in logarithms; for another trained range, stretched to it."""
    logs = np.log(_AYS_SDXL if is_sdxl else _AYS)
    ends = np.log(trained[[-1, 0]])
    if np.abs(ends - logs[[0, -1]]).max() > _NEAR:
        logs = ends[1] + (logs - logs[-1]) * (ends[0] - ends[1]) / (logs[0] - logs[-1])
    return np.exp(np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, len(logs)), logs))


def _kl_optimal(trained: Sigmas, steps: int, is_sdxl: bool) -> Sigmas:
    """Even in the arctangent of sigma; Sabour et al. 2024, arXiv 2404.14507, appendix."""
    return np.tan(np.linspace(np.arctan(trained[-1]), np.arctan(trained[0]), steps))


def _at(trained: Sigmas, timesteps: NDArray[np.float64]) -> Sigmas:
    """The sigmas at ``timesteps``, interpolated in logarithms as in k-diffusion."""
    return np.exp(np.interp(timesteps, np.arange(len(trained)), np.log(trained)))


_LAYOUTS: Mapping[str, Layout] = MappingProxyType({
    "Karras": _karras, "Exponential": _exponential, "SGM Uniform": _sgm_uniform, "Simple": _simple, "Normal": _normal,
    "DDIM": _ddim, "Beta": _beta, "Align Your Steps": _align_your_steps, "KL Optimal": _kl_optimal,
})  # fmt: skip
"""By the names in :data:`models.catalog.samplers.LAYOUTS`."""


def apply_layout(scheduler: Any, layout: str, is_sdxl: bool) -> None:
    """Let ``scheduler``, which is set to exponential steps, lay its steps out by ``layout`` instead.

    diffusers' schedulers convert the sigmas of exponential steps in one method, and find the timesteps of the converted
    sigmas themselves.
    """

    def convert(in_sigmas: object, num_inference_steps: int) -> Sigmas:
        return _LAYOUTS[layout](trained_sigmas(scheduler), num_inference_steps, is_sdxl)

    scheduler._convert_to_exponential = convert


def trained_sigmas(scheduler: Any) -> Sigmas:
    """The noise levels of all trained timesteps, rising."""
    alphas = np.asarray(scheduler.alphas_cumprod, dtype=np.float64).clip(_MIN_ALPHA)
    return np.asarray(np.sqrt((1 - alphas) / alphas))
