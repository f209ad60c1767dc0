"""A loaded checkpoint of any supported version: tokens of many sequences in, logits out, states updated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from models.language.rwkv import v5, v6, v7, weights
from models.language.rwkv.ops import Block
from models.language.rwkv.state import State
from models.language.rwkv.weights import BadWeights

DTYPES: Mapping[str, torch.dtype] = MappingProxyType({"fp32": torch.float32, "bf16": torch.bfloat16})
"""The dtypes of the weights. States, group norms and decays are float32 in any case."""
VERSIONS: Mapping[str, ModuleType] = MappingProxyType({"5.2": v5, "6": v6, "7": v7})


class Model:
    def __init__(self, path: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> None:
        """Load the checkpoint in the file ``path``.

        Raises:
            BadWeights: the file is not a checkpoint of a supported version.
        """
        tensors = weights.read(path)
        self.version = _version(tensors)
        self._layers = VERSIONS[self.version]
        sizes = weights.check(tensors, self._layers.SHAPES, getattr(self._layers, "UNUSED_AT_FIRST", ()))
        self.vocabulary_size, self.width = sizes["V"], sizes["C"]
        self._heads, self._head_size = sizes["H"], sizes["N"]
        self._dtype, self._device = dtype, torch.device(device)
        self._top = {name: tensors[name].to(self._device, dtype) for name in weights.TOP_SHAPES}
        count = weights.layer_count(tensors)
        self._blocks = [self._layers.prepared(self._block(tensors, layer)) for layer in range(count)]

    def _block(self, tensors: Mapping[str, Tensor], layer: int) -> Block:
        prefix = f"blocks.{layer}."
        return {
            name: tensors[prefix + name].to(
                self._device, torch.float32 if name in self._layers.FLOAT32 else self._dtype
            )
            for name in self._layers.SHAPES
            if prefix + name in tensors
        }

    def new_state(self, rows: int) -> State:
        """The initial state of ``rows`` sequences."""
        layers, size = len(self._blocks), self._head_size
        last = torch.zeros(layers, 2, rows, self.width, dtype=self._dtype, device=self._device)
        return State(last, torch.zeros(layers, rows, self._heads, size, size, device=self._device))

    @torch.inference_mode()
    def forward(self, tokens: Tensor, state: State) -> Tensor:
        """Process the next T tokens of each of B sequences.

        Args:
            tokens: [B, T] in int64, each below ``vocabulary_size``.
            state: The state of the B sequences; advances by T tokens.

        Returns:
            The logits of the next token [B, V] in float32. Rows are independent, except for rounding: matrix products
            of different sizes add in different orders.
        """
        top = self._top
        x = F.embedding(tokens.to(self._device), top["emb.weight"])
        x = F.layer_norm(x, (self.width,), top["blocks.0.ln0.weight"], top["blocks.0.ln0.bias"])
        x = self._layers.run(self._blocks, x, state)[:, -1]
        x = F.layer_norm(x, (self.width,), top["ln_out.weight"], top["ln_out.bias"])
        return F.linear(x, top["head.weight"]).float()


def _version(tensors: Mapping[str, Tensor]) -> str:
    for version, layers in VERSIONS.items():
        if f"blocks.0.{layers.MARKER}" in tensors:
            return version
    raise BadWeights("the checkpoint has none of the supported RWKV versions: 5.2, 6 and 7")
