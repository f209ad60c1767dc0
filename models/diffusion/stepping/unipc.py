"""UniPC of up to the third order, multistep: a corrector for the last step, and a predictor for the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.diffusion.stepping.family import Coefficients, Stack, StepFamily, kept_or_own, position
from models.diffusion.stepping.predictions import PREDICTION_TYPES, original_of_alpha

_MAX_ORDER = 3
_NO_CORRECTOR = (0.0,) * 8
"""In place of the corrector's coefficients at the first step."""


class UniPC(StepFamily):
    """The step of ``UniPCMultistepScheduler`` on noiseless latents: Zhao et al. 2023, arXiv 2302.04867.

    Predictor and corrector are ``x = a * x - b * m0 - c * (sum of rho_k * (m_k - m0) / r_k)`` over earlier noiseless
    latents ``m_k``; the corrector's sum also has those of this step. Steps of a lower order have a ``rho_k`` of 0. The
    sum is the only operation whose rounding differs from diffusers', which multiplies matrices for the third order.
    """

    def covers(self, scheduler: Any) -> bool:
        config = scheduler.config
        return (
            config.solver_order <= _MAX_ORDER
            and config.predict_x0
            and config.solver_type in ("bh1", "bh2")
            and config.prediction_type in PREDICTION_TYPES
            and not config.thresholding
            and scheduler.solver_p is None
            and scheduler.begin_index is not None
        )

    def table(self, scheduler: Any) -> Mapping[int, Coefficients]:
        """The order of each step depends on where the first one is, so the table begins there.

        The last coefficient is the timestep, which the scheduler's state keeps.
        """
        begin, steps = scheduler.begin_index, len(scheduler.timesteps)
        alpha, sigma = (each.tolist() for each in scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas))
        stages = _stages(scheduler, begin, steps)
        timesteps = scheduler.timesteps.tolist()
        return {
            index: (
                alpha[index], sigma[index], *stages[index].predictor,
                *(stages[index - 1].corrector if index > begin else _NO_CORRECTOR), timesteps[index],
            )
            for index in range(begin, steps)
        }  # fmt: skip

    def variant(self, scheduler: Any) -> bool:
        """Whether the step begins with the corrector."""
        index = position(scheduler)
        return index > 0 and index - 1 not in scheduler.disable_corrector and scheduler.last_sample is not None

    def step(self, stack: Stack) -> tuple[torch.Tensor, ...]:
        predictor, corrector, own_rho = stack.columns[2:9], stack.columns[9:16], stack.columns[16]
        dtype, latents = stack.prediction.dtype, stack.latents
        now = original_of_alpha(stack).to(dtype)
        earlier = [kept_or_own([each.model_outputs[-age] for each in stack.schedulers], now) for age in (1, 2, 3)]
        if self.variant(stack.schedulers[0]):
            start = torch.cat([each.last_sample for each in stack.schedulers])
            latents = _moved(start, earlier, corrector, own_rho * (now - earlier[0])).to(dtype)
        return _moved(latents, [now, *earlier[:2]], predictor).to(dtype), now, latents

    def commit(self, scheduler: Any, coefficients: Coefficients, kept: Sequence[torch.Tensor]) -> None:
        now, latents = kept
        scheduler.this_order = _order(scheduler, position(scheduler), scheduler.lower_order_nums)
        scheduler.model_outputs = [*scheduler.model_outputs[1:], now]
        scheduler.timestep_list = [*scheduler.timestep_list[1:], int(coefficients[-1])]
        scheduler.last_sample = latents
        scheduler.lower_order_nums = min(scheduler.lower_order_nums + 1, scheduler.config.solver_order)
        super().commit(scheduler, coefficients, kept)


@dataclass(frozen=True)
class _Stage:
    """The coefficients a, b, c, r_1, r_2, rho_1, rho_2 from one noise level to the next."""

    predictor: Coefficients
    corrector: Coefficients
    """With the ``rho`` of the noiseless latents at the next noise level in the end."""


def _order(scheduler: Any, index: int, taken: int) -> int:
    """The order of the step with ``index``, after ``taken`` steps."""
    highest: int = scheduler.config.solver_order
    if scheduler.config.lower_order_final:
        highest = min(highest, len(scheduler.timesteps) - index)
    return min(highest, taken + 1)


def _stages(scheduler: Any, begin: int, steps: int) -> dict[int, _Stage]:
    """By the number of the step. All steps of one order are computed together."""
    orders: dict[int, list[int]] = {}
    for index in range(begin, steps):
        orders.setdefault(_order(scheduler, index, index - begin), []).append(index)
    return {
        index: stage
        for order, indices in orders.items()
        for index, stage in zip(indices, _stages_of(scheduler, indices, order), strict=True)
    }


def _stages_of(scheduler: Any, indices: list[int], order: int) -> list[_Stage]:
    """As ``multistep_uni_p_bh_update`` and ``multistep_uni_c_bh_update`` of diffusers compute them."""
    alphas, sigmas = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas)
    lambdas = torch.log(alphas) - torch.log(sigmas)
    at = torch.tensor(indices)
    width = lambdas[at + 1] - lambdas[at]
    ratios = [(lambdas[at - age] - lambdas[at]) / width for age in range(1, order)]
    phi = torch.expm1(-width)
    scale = -width if scheduler.config.solver_type == "bh1" else phi
    predictor, corrector = _rhos(torch.stack([*ratios, torch.ones_like(width)]), -width, scale)
    common = (sigmas[at + 1] / sigmas[at], alphas[at + 1] * phi, alphas[at + 1] * scale)
    spare = _MAX_ORDER - order
    ones, zeros = [torch.ones_like(width)] * spare, [torch.zeros_like(width)] * spare
    head = (*common, *ratios, *ones)
    predictors = zip(*(each.tolist() for each in (*head, *predictor, *zeros)), strict=True)
    correctors = zip(*(each.tolist() for each in (*head, *corrector[:-1], *zeros, corrector[-1])), strict=True)
    return [_Stage(*each) for each in zip(predictors, correctors, strict=True)]


def _rhos(
    ratios: torch.Tensor, width: torch.Tensor, scale: torch.Tensor
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The weights rho of predictor and corrector, [steps] each; ``ratios`` is [order, steps]."""
    order = len(ratios)
    phi, targets = torch.expm1(width) / width - 1, []
    for number in range(1, order + 1):
        targets.append(phi * math.factorial(number) / scale)
        phi = phi / width - 1 / math.factorial(number + 1)
    matrix = torch.stack([ratios**power for power in range(order)]).permute(2, 0, 1)
    target = torch.stack(targets, dim=1)
    half = torch.full_like(width, 0.5)
    corrector = [half] if order == 1 else list(torch.linalg.solve(matrix, target).unbind(1))
    if order <= 2:
        return [half] * (order - 1), corrector
    return list(torch.linalg.solve(matrix[:, :-1, :-1], target[:, :-1]).unbind(1)), corrector


def _moved(
    latents: torch.Tensor,
    originals: Sequence[torch.Tensor],
    columns: Sequence[torch.Tensor],
    more: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """``latents`` at the next noise level; ``originals`` are the noiseless latents m0, m_1 and m_2."""
    a, b, c, first_ratio, second_ratio, first_rho, second_rho = columns
    m0, first, second = originals
    total = first_rho * ((first - m0) / first_ratio) + second_rho * ((second - m0) / second_ratio)
    return a * latents - b * m0 - c * (total + more)
