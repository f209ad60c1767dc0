"""Weights in 8 bits for graphs that torch compiles: a scale for each output channel, and float32 in each forward.

torchao 0.18 does so for linear layers, by tensors of its own, and leaves convolutions as they are. The parametrization
of this module serves both, and torch.export traces it as two operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType

import torch
from torch import nn
from torch.nn.utils import parametrize

DTYPES: Mapping[str, torch.dtype] = MappingProxyType({"int8": torch.int8, "fp8": torch.float8_e4m3fn})
"""What weights are stored as, by precision."""
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Those whose weights have the output channels as their first axis."""
_LARGE = 4096
"""Weights of fewer values stay as they are."""
_LEAST_SCALE = 1e-12
"""For channels whose weights are all zero."""


@contextmanager
def in_8_bits(module: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Within, the large weights of the linear layers and convolutions in ``module`` are stored as ``dtype``.

    Afterwards all parameters are the same objects in the same order as before, since the digest of a model's weights
    depends on the order.
    """
    with torch.no_grad(), ExitStack() as stack:
        for layer in list(module.modules()):
            if isinstance(layer, _LAYERS) and layer.weight.numel() >= _LARGE:
                stack.enter_context(_stored(layer, dtype))
        yield


@contextmanager
def _stored(layer: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    parameters = dict(layer.named_parameters(recurse=False))
    layer.weight = nn.Parameter(parameters["weight"].detach(), requires_grad=False)  # integers have no gradients
    parametrize.register_parametrization(layer, "weight", Dequantized(dtype), unsafe=True)
    try:
        yield
    finally:
        parametrize.remove_parametrizations(layer, "weight")
        for name, parameter in parameters.items():
            delattr(layer, name)
            layer.register_parameter(name, parameter)


class Dequantized(nn.Module):
    """A parametrization: a weight [channels, ...] as values of ``dtype`` and a scale for each channel."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def right_inverse(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The values [channels, ...] of the largest range that ``dtype`` has, and the scales [channels, 1, ...]."""
        most = weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True).clamp(min=_LEAST_SCALE)
        if self._dtype.is_floating_point:
            scale = most / torch.finfo(self._dtype).max
            return (weight / scale).to(self._dtype), scale
        scale = most / torch.iinfo(self._dtype).max
        return (weight / scale).round().to(self._dtype), scale

    def forward(self, values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """The weight in float32."""
        return values.to(scale.dtype) * scale
