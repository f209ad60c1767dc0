"""Weights of a denoiser stored in 8 bits (``weights = "fp8"``), and widened while their layer computes.

The layers are those of diffusers' ``enable_layerwise_casting``, and so are the images: norms, embeddings of positions
and patches, and the first and last projections keep their dtype. Each layer's weights are widened by themselves, so
that the output for one input does not depend on the others. diffusers' own hooks are not used, because their
copies, which LoRAs need, would call the original layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN
from torch import nn

from models.diffusion.placement import Fetch, visit

STORED = torch.float8_e4m3fn
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)


def reduce_weights(denoiser: Any) -> None:
    """Store the weights of ``denoiser``, a model of diffusers, in 8 bits; in place."""
    for layer in _reduced_layers(denoiser):
        layer.to(STORED)


def widen_in_forwards(denoiser: nn.Module, dtype: torch.dtype) -> None:
    """Let each layer with weights in 8 bits compute with them in ``dtype``."""
    for layer in denoiser.modules():
        if any(each.dtype == STORED for each in layer.parameters(recurse=False)):
            visit(layer, widening(dtype))


@contextmanager
def looking_wide(denoiser: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Within the block, weights in 8 bits look as if they were in ``dtype``, without their numbers and their memory.

    LoRAs that are loaded meanwhile get this dtype; otherwise peft would store them in 8 bits and compute in them.
    """
    reduced = [(each, each.data) for each in denoiser.parameters() if each.dtype == STORED]
    for parameter, stored in reduced:
        parameter.data = torch.zeros((), dtype=dtype, device=stored.device).expand(stored.shape)
    try:
        yield
    finally:
        for parameter, stored in reduced:
            parameter.data = stored


def widening(dtype: torch.dtype) -> Fetch:
    """Widens tensors in 8 bits to ``dtype``, and leaves others as they are."""
    return lambda stored: stored.to(dtype) if stored.dtype == STORED else stored


def _reduced_layers(denoiser: Any) -> Iterator[nn.Module]:
    own = (denoiser._keep_in_fp32_modules, denoiser._skip_layerwise_casting_patterns)
    patterns = [*DEFAULT_SKIP_MODULES_PATTERN, *(pattern for patterns in own for pattern in patterns or ())]
    for name, layer in denoiser.named_modules():
        if isinstance(layer, _LAYERS) and not any(
            re.search(each, outer) for outer in _outer(name) for each in patterns
        ):
            yield layer


def _outer(name: str) -> list[str]:
    """The names of a module and of all modules around it."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
