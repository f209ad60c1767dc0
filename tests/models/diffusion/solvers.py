"""The solvers that A1111's names stand for, written down once more from their papers.

All work on latents to which noise of standard deviation sigma was added, and on a falling list of sigmas that ends in
zero. Euler, Heun, DPM2 and LMS: Karras et al. 2022 (arXiv 2206.00364) and its reference code k-diffusion; DPM++: Lu et
al. 2022 (arXiv 2211.01095); PLMS: Liu et al. 2022 (arXiv 2202.09778); LCM: Luo et al. 2023 (arXiv 2310.04378).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch

Noise = Callable[[float, float], torch.Tensor]
"""Normal noise for the way from one sigma to another."""
Denoise = Callable[[torch.Tensor, float], torch.Tensor]
Solver = Callable[[Denoise, torch.Tensor, Sequence[float], Noise], torch.Tensor]


def euler(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    for now, then in pairwise(sigmas):
        x = x + (then - now) * _slope(denoise, x, now)
    return x


def euler_ancestral(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    for now, then in pairwise(sigmas):
        down, up = _ancestral(now, then)
        x = x + (down - now) * _slope(denoise, x, now) + up * noise(now, then)
    return x


def heun(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    for now, then in pairwise(sigmas):
        slope = _slope(denoise, x, now)
        if then:
            slope = (slope + _slope(denoise, x + (then - now) * slope, then)) / 2
        x = x + (then - now) * slope
    return x


def dpm2(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    for now, then in pairwise(sigmas):
        x = x + (then - now) * _midpoint_slope(denoise, x, now, then)
    return x


def dpm2_ancestral(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    for now, then in pairwise(sigmas):
        down, up = _ancestral(now, then)
        x = x + (down - now) * _midpoint_slope(denoise, x, now, down)
        x = x + up * noise(now, then) if up else x
    return x


def lms(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    slopes: list[torch.Tensor] = []
    for step, (now, then) in enumerate(pairwise(sigmas)):
        slopes = [_slope(denoise, x, now), *slopes][:4]
        known = [sigmas[step - back] for back in range(len(slopes))]
        for slope, at in zip(slopes, known, strict=True):
            others = (np.polynomial.Polynomial([-each, 1]) / (at - each) for each in known if each != at)
            area = math.prod(others, start=np.polynomial.Polynomial([1])).integ()
            x = x + float(area(then) - area(now)) * slope
    return x


def plms(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    weights = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
    slopes: list[torch.Tensor] = []
    for now, then in pairwise(sigmas):
        slopes = [_slope(denoise, x, now), *slopes][:4]
        slope = sum((w * each for w, each in zip(weights[len(slopes) - 1], slopes, strict=True)), torch.zeros_like(x))
        if len(slopes) == 1:
            slope = (slope + _slope(denoise, x + (then - now) * slope, then)) / 2
        x = x + (then - now) * slope
    return x


def lcm(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    for now, then in pairwise(sigmas[:-1]):
        x = denoise(x, now) + then * noise(now, then)
    return denoise(x, sigmas[-2])


def dpmpp_2m(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    past = None
    for now, then in pairwise(sigmas[:-1]):
        h, denoised = math.log(now / then), denoise(x, now)
        change = (denoised - past[0]) * h / past[1] if past else 0.0
        x = then / now * x - math.expm1(-h) * (denoised + change / 2)
        past = denoised, h
    return denoise(x, sigmas[-2])


def dpmpp_2m_sde(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    return _dpmpp_multistep_sde(denoise, x, sigmas, noise, lambda h: -math.expm1(-2 * h) / 2)


def dpmpp_2m_sde_heun(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    return _dpmpp_multistep_sde(denoise, x, sigmas, noise, _phi_2)


def dpmpp_3m_sde(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    return _dpmpp_multistep_sde(denoise, x, sigmas, noise, _phi_2, lambda h: _phi_2(h) / (2 * h) - 0.5)


def dpmpp_sde(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    for now, then in pairwise(sigmas[:-1]):
        middle = math.sqrt(now * then)
        halfway = _towards(x, denoise(x, now), now, middle, noise)
        x = _towards(x, denoise(halfway, middle), now, then, noise)
    return denoise(x, sigmas[-2])


SOLVERS: Mapping[str, Solver] = {
    "Euler": euler, "Euler a": euler_ancestral, "DDIM": euler, "LMS": lms, "Heun": heun, "DPM2": dpm2,
    "DPM2 a": dpm2_ancestral, "DPM++ 2M": dpmpp_2m, "DPM++ SDE": dpmpp_sde, "DPM++ 2M SDE": dpmpp_2m_sde,
    "DPM++ 2M SDE Heun": dpmpp_2m_sde_heun, "PLMS": plms, "LCM": lcm,
}  # fmt: skip
"""By A1111's names."""


def _slope(denoise: Denoise, x: torch.Tensor, sigma: float) -> torch.Tensor:
    return (x - denoise(x, sigma)) / sigma


def _midpoint_slope(denoise: Denoise, x: torch.Tensor, now: float, then: float) -> torch.Tensor:
    slope, middle = _slope(denoise, x, now), math.sqrt(now * then)
    return _slope(denoise, x + (middle - now) * slope, middle) if middle else slope


def _ancestral(now: float, then: float) -> tuple[float, float]:
    """How far down to go, and how much noise to add, to be at ``then``."""
    up = min(then, then * math.sqrt(1 - (then / now) ** 2))
    return math.sqrt(then**2 - up**2), up


def _towards(x: torch.Tensor, denoised: torch.Tensor, now: float, then: float, noise: Noise) -> torch.Tensor:
    down, up = _ancestral(now, then)
    return denoised + (x - denoised) * down / now + up * noise(now, then)


def _phi_2(h: float) -> float:
    return math.expm1(-2 * h) / (2 * h) + 1


def _dpmpp_multistep_sde(
    denoise: Denoise,
    x: torch.Tensor,
    sigmas: Sequence[float],
    noise: Noise,
    second: Callable[[float], float],
    third: Callable[[float], float] | None = None,
) -> torch.Tensor:
    """The coefficients of the second differences, and of the third ones if they are used, for the step's length."""
    past: list[tuple[torch.Tensor, float]] = []
    for now, then in pairwise(sigmas[:-1]):
        h, denoised = math.log(now / then), denoise(x, now)
        x = then / now * math.exp(-h) * x - math.expm1(-2 * h) * denoised
        x = x + then * math.sqrt(-math.expm1(-2 * h)) * noise(now, then)
        if past:
            r = past[0][1] / h
            change = (denoised - past[0][0]) / r
            if third and len(past) == 2:
                q = past[1][1] / h
                bend = (change - (past[0][0] - past[1][0]) / q) / (r + q)
                change = change + bend * r
                x = x - third(h) * bend
            x = x + second(h) * change
        past = [(denoised, h), *past][:2]
    return denoise(x, sigmas[-2])
