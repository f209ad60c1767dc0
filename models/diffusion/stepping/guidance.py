"""Guidance for many rows at once: each row's outputs of the model are combined into one prediction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch

from models.diffusion.stepping.transfer import send

Weights = tuple[float, ...]
"""The weight of each output after a row's first one; none if the row has one output."""


def guide(outputs: Sequence[torch.Tensor], weights: Sequence[Weights]) -> torch.Tensor:
    """The predictions [N, C, h, w] of N rows from the model's ``outputs`` [inputs, C, h, w] of each row.

    A prediction is ``first + weight * (second - first) + weight * (third - first) + ...``, which is classifier-free
    guidance (arXiv 2207.12598) for two outputs and composition (arXiv 2206.01714) for more. Rows with fewer outputs
    than others add their first output's difference to itself, which is zero.
    """
    stacked = torch.cat(list(outputs))
    firsts = list(accumulate((len(each) for each in outputs[:-1]), initial=0))
    depth = max(map(len, weights))
    if depth == 0:
        return stacked
    indices = [firsts, *([_nth(start, each, number) for start, each in zip(firsts, weights, strict=True)]
                         for number in range(1, depth + 1))]  # fmt: skip
    factors = [[each[number] if number < len(each) else 0.0 for each in weights] for number in range(depth)]
    ones = [1] * (stacked.dim() - 1)
    first, *others = (stacked.index_select(0, each) for each in send(indices, torch.int64, stacked.device).unbind())
    total = first
    for factor, each in zip(send(factors, torch.float32, stacked.device).unbind(), others, strict=True):
        total = total + factor.view(-1, *ones) * (each - first)
    return total.to(stacked.dtype)


def _nth(start: int, weights: Weights, number: int) -> int:
    """The index of a row's output ``number``, or of its first where it has fewer."""
    return start + number if number <= len(weights) else start
