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


def dpmpp_2s_ancestral(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    for now, then in pairwise(sigmas[:-1]):
        down, up = _ancestral(now, then)
        start, end = -math.log(now), -math.log(down)
        middle = (start + end) / 2
        halfway = math.exp(start - middle) * x - math.expm1(start - middle) * denoise(x, now)
        x = down / now * x - math.expm1(start - end) * denoise(halfway, math.exp(-middle)) + up * noise(now, then)
    return denoise(x, sigmas[-2])


def restart(denoise: Denoise, x: torch.Tensor, sigmas: Sequence[float], noise: Noise) -> torch.Tensor:
    """Heun's method on sigmas that may rise."""
    for now, then in pairwise(sigmas):
        if then > now:
            x = x + math.sqrt(then**2 - now**2) * noise(now, then)
        else:
            x = heun(denoise, x, (now, then), noise)
    return x


def dpm_fast(denoise: Denoise, x: torch.Tensor, high: float, low: float, calls: int) -> torch.Tensor:
    """DPM-Solver-fast, written for the integral of the slope over log sigma, as in its paper's algorithm 1 to 3."""
    steps = calls // 3 + 1
    orders = [3] * (steps - 2) + [2, 1] if calls % 3 == 0 else [3] * (steps - 1) + [calls % 3]
    h = math.log(high / low) / steps
    for step, order in enumerate(orders):
        now = high * math.exp(-h * step)
        at = [now * math.exp(-h * part) for part in (0, 1 / 3, 1 / 2, 2 / 3, 1)]
        first = _slope(denoise, x, now)
        if order == 1:
            x = x + (at[4] - now) * first
        elif order == 2:
            second = _slope(denoise, x + (at[2] - now) * first, at[2])
            x = x + (at[4] - now) * second
        else:
            second = _slope(denoise, x + (at[1] - now) * first, at[1])
            part = 2 * h / 3
            change = at[3] * 2 * (math.expm1(part) / part - 1) * (second - first)
            third = _slope(denoise, x + (at[3] - now) * first - change, at[3])
            x = x + (at[4] - now) * first - at[4] * 1.5 * (math.expm1(h) / h - 1) * (third - first)
    return x


SOLVERS: Mapping[str, Solver] = {
    "Euler": euler, "Euler a": euler_ancestral, "DDIM": euler, "LMS": lms, "Heun": heun, "DPM2": dpm2,
    "DPM2 a": dpm2_ancestral, "DPM++ 2M": dpmpp_2m, "DPM++ SDE": dpmpp_sde, "DPM++ 2M SDE": dpmpp_2m_sde,
    "DPM++ 2M SDE Heun": dpmpp_2m_sde_heun, "PLMS": plms, "LCM": lcm, "DPM++ 2S a": dpmpp_2s_ancestral,
    "DPM++ 3M SDE": dpmpp_3m_sde, "Restart": restart,
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
