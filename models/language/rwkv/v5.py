"""RWKV version 5.2, as the World models of that generation are: the decay of the memory is learned, and constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.language.rwkv.maths import BLOCK_SHAPES, Block, before, gated_channels, head_normed, heads, normed, recall
from models.language.rwkv.state import LayerState, State

SIGN = "att.time_mix_g"
"""Only checkpoints of this version have it."""
SHAPES: Mapping[str, str] = {
    **BLOCK_SHAPES,
    **{f"att.time_mix_{name}": "1 1 C" for name in "kvrg"},
    **{f"ffn.time_mix_{name}": "1 1 C" for name in "kr"},
    "att.time_decay": "H N",
    "att.time_faaaa": "H N",
    "att.gate.weight": "C C",
    "ffn.receptance.weight": "C C",
}
FLOAT32 = ("att.time_decay", "att.time_faaaa", "att.ln_x.weight", "att.ln_x.bias")
"""The tensors that are never rounded."""


def prepared(w: Block) -> Block:
    """The layer with what can be computed once: the decay as the factor that it is."""
    return {**w, "att.time_decay": torch.exp(-torch.exp(w["att.time_decay"]))}


def run(blocks: Sequence[Block], x: Tensor, state: State) -> Tensor:
    """What the layers make of embedded tokens ``x`` [B, T, C]; ``state`` moves on by T tokens."""
    for w, memory in zip(blocks, state.layers(), strict=True):
        x = x + _mix_time(w, normed(x, w, "ln1"), memory)
        x = x + _mix_channels(w, normed(x, w, "ln2"), memory)
    return x


def _mix_time(w: Block, x: Tensor, memory: LayerState) -> Tensor:
    earlier = before(x, memory.attention_last)
    for_k, for_v, for_r, for_g = (torch.lerp(earlier, x, w[f"att.time_mix_{name}"]) for name in "kvrg")
    decay = w["att.time_decay"]
    r = heads(F.linear(for_r, w["att.receptance.weight"]), decay)
    k = heads(F.linear(for_k, w["att.key.weight"]), decay)
    v = heads(F.linear(for_v, w["att.value.weight"]), decay)
    found = recall(r, k, v, decay.expand_as(r), w["att.time_faaaa"], memory.wkv)
    gate = F.silu(F.linear(for_g, w["att.gate.weight"]))
    return F.linear(head_normed(found, w).to(x.dtype) * gate, w["att.output.weight"])


def _mix_channels(w: Block, x: Tensor, memory: LayerState) -> Tensor:
    earlier = before(x, memory.channel_last)
    for_k, for_r = (torch.lerp(earlier, x, w[f"ffn.time_mix_{name}"]) for name in "kr")
    return gated_channels(w, for_k, for_r)
