"""RWKV version 5.2: the decay of the state is learned and does not depend on the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.language.rwkv.ops import (
    BLOCK_SHAPES,
    Block,
    gated_channel_mix,
    group_norm,
    heads,
    layer_norm,
    token_shift,
    wkv,
)
from models.language.rwkv.state import LayerState, State

MARKER = "att.time_mix_g"
"""A tensor that only checkpoints of this version have."""
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
"""Tensors that stay in float32, whatever the dtype of the model."""


def prepared(w: Block) -> Block:
    """The layer with its decay precomputed as a factor."""
    return {**w, "att.time_decay": torch.exp(-torch.exp(w["att.time_decay"]))}


def run(blocks: Sequence[Block], x: Tensor, state: State) -> Tensor:
    """Apply all layers to embedded tokens ``x`` [B, T, C]; advances ``state`` by T tokens."""
    for w, layer in zip(blocks, state.layers(), strict=True):
        x = x + _time_mix(w, layer_norm(x, w, "ln1"), layer)
        x = x + _channel_mix(w, layer_norm(x, w, "ln2"), layer)
    return x


def _time_mix(w: Block, x: Tensor, layer: LayerState) -> Tensor:
    shifted = token_shift(x, layer.attention_last)
    for_k, for_v, for_r, for_g = (torch.lerp(shifted, x, w[f"att.time_mix_{name}"]) for name in "kvrg")
    decay = w["att.time_decay"]
    r = heads(F.linear(for_r, w["att.receptance.weight"]), decay)
    k = heads(F.linear(for_k, w["att.key.weight"]), decay)
    v = heads(F.linear(for_v, w["att.value.weight"]), decay)
    out = wkv(r, k, v, decay.expand_as(r), w["att.time_faaaa"], layer.wkv)
    gate = F.silu(F.linear(for_g, w["att.gate.weight"]))
    return F.linear(group_norm(out, w).to(x.dtype) * gate, w["att.output.weight"])


def _channel_mix(w: Block, x: Tensor, layer: LayerState) -> Tensor:
    shifted = token_shift(x, layer.channel_last)
    for_k, for_r = (torch.lerp(shifted, x, w[f"ffn.time_mix_{name}"]) for name in "kr")
    return gated_channel_mix(w, for_k, for_r)
