"""RWKV version 6: how tokens are mixed with the one before, and how fast the memory decays, depend on the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.language.rwkv.maths import BLOCK_SHAPES, Block, before, gated_channels, head_normed, heads, normed, recall
from models.language.rwkv.state import LayerState, State

SIGN = "att.time_maa_x"
"""Only checkpoints of this version have it."""
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
"""The tensors that are never rounded."""


def prepared(w: Block) -> Block:
    """The layer as it is: nothing of it can be computed once."""
    return w


def run(blocks: Sequence[Block], x: Tensor, state: State) -> Tensor:
    """What the layers make of embedded tokens ``x`` [B, T, C]; ``state`` moves on by T tokens."""
    for w, memory in zip(blocks, state.layers(), strict=True):
        x = x + _mix_time(w, normed(x, w, "ln1"), memory)
        x = x + _mix_channels(w, normed(x, w, "ln2"), memory)
    return x


def _mix_time(w: Block, x: Tensor, memory: LayerState) -> Tensor:
    for_w, for_k, for_v, for_r, for_g = _mixed(w, x, before(x, memory.attention_last))
    bonus = w["att.time_faaaa"]
    r = heads(F.linear(for_r, w["att.receptance.weight"]), bonus)
    k = heads(F.linear(for_k, w["att.key.weight"]), bonus)
    v = heads(F.linear(for_v, w["att.value.weight"]), bonus)
    learned = torch.tanh(for_w @ w["att.time_decay_w1"]) @ w["att.time_decay_w2"]
    decay = torch.exp(-torch.exp(heads(w["att.time_decay"] + learned, bonus)))
    found = recall(r, k, v, decay, bonus, memory.wkv)
    gate = F.silu(F.linear(for_g, w["att.gate.weight"]))
    return F.linear(head_normed(found, w).to(x.dtype) * gate, w["att.output.weight"])


def _mixed(w: Block, x: Tensor, earlier: Tensor) -> list[Tensor]:
    """``x`` [B, T, C] mixed with what came earlier, for w, k, v, r and g, by shares that depend on both."""
    hidden = torch.tanh(torch.lerp(x, earlier, w["att.time_maa_x"]) @ w["att.time_maa_w1"])
    shares = torch.einsum("btim,imc->ibtc", hidden.unflatten(-1, (5, -1)), w["att.time_maa_w2"])
    step = earlier - x
    return [
        x + step * (w[f"att.time_maa_{name}"] + share) for name, share in zip("wkvrg", shares.unbind(0), strict=True)
    ]


def _mix_channels(w: Block, x: Tensor, memory: LayerState) -> Tensor:
    earlier = before(x, memory.channel_last)
    for_k, for_r = (torch.lerp(x, earlier, w[f"ffn.time_maa_{name}"]) for name in "kr")
    return gated_channels(w, for_k, for_r)
