"""RWKV version 7: the state decays, and the value that it holds for a key is replaced (generalised delta rule)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.language.rwkv.ops import BLOCK_SHAPES, Block, channel_mix, group_norm, heads, layer_norm, token_shift
from models.language.rwkv.state import LayerState, State

MARKER = "att.r_k"
"""A tensor that only checkpoints of this version have."""
SHAPES: Mapping[str, str] = {
    **BLOCK_SHAPES,
    **{f"att.x_{name}": "1 1 C" for name in "rwkvag"},
    **{f"att.{name}0": "1 1 C" for name in "wav"},
    **{f"att.{name}1": f"C {name}" for name in "wavg"},
    **{f"att.{name}2": f"{name} C" for name in "wavg"},
    "att.k_k": "1 1 C",
    "att.k_a": "1 1 C",
    "att.r_k": "H N",
    "ffn.x_k": "1 1 C",
}
UNUSED_AT_FIRST = ("att.v0", "att.v1", "att.v2")
"""Tensors that the first layer may lack: they mix in the values of the first layer."""
FLOAT32 = ("att.w0", "att.r_k", "att.ln_x.weight", "att.ln_x.bias")
"""Tensors that stay in float32, whatever the dtype of the model."""
_LOG_DECAY_MIN = -math.exp(-0.5)
"""The logarithm of the smallest decay factor of one step."""


def prepared(w: Block) -> Block:
    """The layer unchanged: this version has nothing to precompute."""
    return w


def run(blocks: Sequence[Block], x: Tensor, state: State) -> Tensor:
    """Apply all layers to embedded tokens ``x`` [B, T, C]; advances ``state`` by T tokens."""
    first_values: Tensor | None = None
    for w, layer in zip(blocks, state.layers(), strict=True):
        change, first_values = _time_mix(w, layer_norm(x, w, "ln1"), first_values, layer)
        x = x + change
        x = x + _channel_mix(w, layer_norm(x, w, "ln2"), layer)
    return x


def _time_mix(w: Block, x: Tensor, first: Tensor | None, layer: LayerState) -> tuple[Tensor, Tensor]:
    """The output and the first layer's values [B, T, C]; ``first`` is None in the first layer, else those values."""
    shifted = token_shift(x, layer.attention_last)
    for_r, for_w, for_k, for_v, for_a, for_g = (torch.lerp(x, shifted, w[f"att.x_{name}"]) for name in "rwkvag")
    key, value = F.linear(for_k, w["att.key.weight"]), F.linear(for_v, w["att.value.weight"])
    if first is None:
        first = value
    else:
        value = torch.lerp(value, first, torch.sigmoid(w["att.v0"] + _low_rank(w, "v", for_v)))
    rate = torch.sigmoid(w["att.a0"] + _low_rank(w, "a", for_a))
    by_head = w["att.r_k"]
    r = heads(F.linear(for_r, w["att.receptance.weight"]), by_head)
    k = heads(key * (1 + (rate - 1) * w["att.k_a"]), by_head)
    v = heads(value, by_head)
    removed = F.normalize(heads(key * w["att.k_k"], by_head), dim=-1)
    lost = torch.tanh(for_w @ w["att.w1"]) @ w["att.w2"]
    decay = torch.exp(_LOG_DECAY_MIN * torch.sigmoid(heads(w["att.w0"] + lost, by_head)))
    out = _wkv(r, k, v, decay, removed, removed * heads(rate, by_head), layer.wkv)
    current = (r * k * by_head).sum(-1, keepdim=True) * v
    gate = torch.sigmoid(for_g @ w["att.g1"]) @ w["att.g2"]
    mixed = (group_norm(out, w) + current.flatten(-2)).to(x.dtype) * gate
    return F.linear(mixed, w["att.output.weight"]), first


def _low_rank(w: Block, name: str, x: Tensor) -> Tensor:
    return x @ w[f"att.{name}1"] @ w[f"att.{name}2"]


def _wkv(
    r: Tensor, k: Tensor, v: Tensor, decay: Tensor, removed: Tensor, added: Tensor, state: Tensor
) -> Tensor:  # fmt: skip
    """The WKV recurrence of version 7: each token's update with ``k`` and ``v``, then its read-out by ``r``.

    Before the update, the value stored for the key ``removed`` is subtracted, weighted by ``added``. All inputs and the
    result are [B, T, H, N] in float32; ``state`` [B, H, N, N] is updated in place.
    """
    out = torch.empty_like(v)
    by_time = zip(*(each.unbind(1) for each in (out, r, k, v, decay, removed, added)), strict=True)
    for out_t, r_t, k_t, v_t, decay_t, removed_t, added_t in by_time:
        old = state @ removed_t[..., None]
        state.mul_(decay_t[:, :, None]).addcmul_(old, added_t[:, :, None], value=-1)
        state.addcmul_(v_t[..., None], k_t[:, :, None])
        out_t.copy_((state @ r_t[..., None]).squeeze(-1))
    return out


def _channel_mix(w: Block, x: Tensor, layer: LayerState) -> Tensor:
    return channel_mix(w, torch.lerp(x, token_shift(x, layer.channel_last), w["ffn.x_k"]))
