"""A checkpoint of any known version as one function: tokens of many sequences in, logits out, memories moved on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from models.language.rwkv import v5, v6, v7, weights
from models.language.rwkv.maths import Block
from models.language.rwkv.state import State
from models.language.rwkv.weights import BadWeights

DTYPES: Mapping[str, torch.dtype] = MappingProxyType({"fp32": torch.float32, "bf16": torch.bfloat16})
"""What the weights may be held in. The memories, the norms of the heads and the decays are float32 in any case."""
VERSIONS: Mapping[str, ModuleType] = MappingProxyType({"5.2": v5, "6": v6, "7": v7})


class Model:
    """One checkpoint in memory."""

    def __init__(self, path: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> None:
        """Load the checkpoint in the file ``path``.

        Raises:
            BadWeights: it is none, or of no version that is known here.
        """
        tensors = weights.read(path)
        self.version = _version(tensors)
        self._maths = VERSIONS[self.version]
        sizes = weights.check(tensors, self._maths.SHAPES, getattr(self._maths, "UNUSED_AT_FIRST", ()))
        self.vocabulary_size, self.width = sizes["V"], sizes["C"]
        self._heads, self._head_size = sizes["H"], sizes["N"]
        self._dtype, self._device = dtype, torch.device(device)
        self._top = {name: tensors[name].to(self._device, dtype) for name in weights.TOP_SHAPES}
        count = weights.layer_count(tensors)
        self._blocks = [self._maths.prepared(self._block(tensors, layer)) for layer in range(count)]

    def _block(self, tensors: Mapping[str, Tensor], layer: int) -> Block:
        prefix = f"blocks.{layer}."
        return {
            name: tensors[prefix + name].to(self._device, torch.float32 if name in self._maths.FLOAT32 else self._dtype)
            for name in self._maths.SHAPES
            if prefix + name in tensors
        }

    def new_state(self, rows: int) -> State:
        """The memory of ``rows`` sequences that saw nothing yet."""
        layers, size = len(self._blocks), self._head_size
        last = torch.zeros(layers, 2, rows, self.width, dtype=self._dtype, device=self._device)
        return State(last, torch.zeros(layers, rows, self._heads, size, size, device=self._device))

    @torch.inference_mode()
    def forward(self, tokens: Tensor, state: State) -> Tensor:
        """Read T further tokens of each of B sequences.

        Args:
            tokens: [B, T] in int64, each below ``vocabulary_size``.
            state: Of B rows; moves on by T tokens.

        Returns:
            [B, V] in float32: the logits of what follows each sequence. No row depends on the others, but for rounding:
            matrix products of different sizes add up in a different order.
        """
        top = self._top
        x = F.embedding(tokens.to(self._device), top["emb.weight"])
        x = F.layer_norm(x, (self.width,), top["blocks.0.ln0.weight"], top["blocks.0.ln0.bias"])
        x = self._maths.run(self._blocks, x, state)[:, -1]
        x = F.layer_norm(x, (self.width,), top["ln_out.weight"], top["ln_out.bias"])
        return F.linear(x, top["head.weight"]).float()


def _version(tensors: Mapping[str, Tensor]) -> str:
    for version, maths in VERSIONS.items():
        if f"blocks.0.{maths.SIGN}" in tensors:
            return version
    raise BadWeights("the checkpoint is of none of RWKV's versions 5.2, 6 and 7")
