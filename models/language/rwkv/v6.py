"""RWKV version 6: the token shift and the decay of the state depend on the tokens."""

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

MARKER = "att.time_maa_x"
"""A tensor that only checkpoints of this version have."""
SHAPES: Mapping[str, str] = {
    **BLOCK_SHAPES,
    **{f"att.time_maa_{name}": "1 1 C" for name in "xwkvrg"},
    **{f"ffn.time_maa_{name}": "1 1 C" for name in "kr"},
    "att.time_maa_w1": "C 5m",
    "att.time_maa_w2": "5 m C",
    "att.time_decay": "1 1 C",
    "att.time_decay_w1": "C d",
    "att.time_decay_w2": "d C",
    "att.time_faaaa": "H N",
    "att.gate.weight": "C C",
    "ffn.receptance.weight": "C C",
}
FLOAT32 = ("att.time_decay", "att.time_faaaa", "att.ln_x.weight", "att.ln_x.bias")
"""Tensors that stay in float32, whatever the dtype of the model."""


def prepared(w: Block) -> Block:
    """The layer unchanged: this version has nothing to precompute."""
    return w


def run(blocks: Sequence[Block], x: Tensor, state: State) -> Tensor:
    """Apply all layers to embedded tokens ``x`` [B, T, C]; advances ``state`` by T tokens."""
    for w, layer in zip(blocks, state.layers(), strict=True):
        x = x + _time_mix(w, layer_norm(x, w, "ln1"), layer)
        x = x + _channel_mix(w, layer_norm(x, w, "ln2"), layer)
    return x


def _time_mix(w: Block, x: Tensor, layer: LayerState) -> Tensor:
    for_w, for_k, for_v, for_r, for_g = _mixed(w, x, token_shift(x, layer.attention_last))
    bonus = w["att.time_faaaa"]
    r = heads(F.linear(for_r, w["att.receptance.weight"]), bonus)
    k = heads(F.linear(for_k, w["att.key.weight"]), bonus)
    v = heads(F.linear(for_v, w["att.value.weight"]), bonus)
    learned = torch.tanh(for_w @ w["att.time_decay_w1"]) @ w["att.time_decay_w2"]
    decay = torch.exp(-torch.exp(heads(w["att.time_decay"] + learned, bonus)))
    out = wkv(r, k, v, decay, bonus, layer.wkv)
    gate = F.silu(F.linear(for_g, w["att.gate.weight"]))
    return F.linear(group_norm(out, w).to(x.dtype) * gate, w["att.output.weight"])


def _mixed(w: Block, x: Tensor, shifted: Tensor) -> list[Tensor]:
    """``x`` [B, T, C] interpolated with ``shifted`` for w, k, v, r and g; the weights depend on both."""
    hidden = torch.tanh(torch.lerp(x, shifted, w["att.time_maa_x"]) @ w["att.time_maa_w1"])
    shares = torch.einsum("btim,imc->ibtc", hidden.unflatten(-1, (5, -1)), w["att.time_maa_w2"])
    step = shifted - x
    return [
        x + step * (w[f"att.time_maa_{name}"] + share) for name, share in zip("wkvrg", shares.unbind(0), strict=True)
    ]


def _channel_mix(w: Block, x: Tensor, layer: LayerState) -> Tensor:
    shifted = token_shift(x, layer.channel_last)
    for_k, for_r = (torch.lerp(x, shifted, w[f"ffn.time_maa_{name}"]) for name in "kr")
    return gated_channel_mix(w, for_k, for_r)
