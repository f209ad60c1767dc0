"""RWKV version 7: the memory is not only left to decay, what a key stood for is replaced too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.language.rwkv.maths import BLOCK_SHAPES, Block, before, channels, head_normed, heads, normed
from models.language.rwkv.state import LayerState, State

SIGN = "att.r_k"
"""Only checkpoints of this version have it."""
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
"""The first layer may lack these: they mix in the values of the first layer."""
FLOAT32 = ("att.w0", "att.r_k", "att.ln_x.weight", "att.ln_x.bias")
"""The tensors that are never rounded."""
_LOG_DECAY_MIN = -math.exp(-0.5)
"""The logarithm of the smallest factor that the memory may decay by in one step."""


def prepared(w: Block) -> Block:
    """The layer as it is: nothing of it can be computed once."""
    return w


def run(blocks: Sequence[Block], x: Tensor, state: State) -> Tensor:
    """What the layers make of embedded tokens ``x`` [B, T, C]; ``state`` moves on by T tokens."""
    first_values: Tensor | None = None
    for w, memory in zip(blocks, state.layers(), strict=True):
        change, first_values = _mix_time(w, normed(x, w, "ln1"), first_values, memory)
        x = x + change
        x = x + _mix_channels(w, normed(x, w, "ln2"), memory)
    return x


def _mix_time(w: Block, x: Tensor, first: Tensor | None, memory: LayerState) -> tuple[Tensor, Tensor]:
    """The mixing, and the values [B, T, C] of the first layer; ``first`` is what these are, once they are known."""
    earlier = before(x, memory.attention_last)
    for_r, for_w, for_k, for_v, for_a, for_g = (torch.lerp(x, earlier, w[f"att.x_{name}"]) for name in "rwkvag")
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
    found = _recall(r, k, v, decay, removed, removed * heads(rate, by_head), memory.wkv)
    itself = (r * k * by_head).sum(-1, keepdim=True) * v
    gate = torch.sigmoid(for_g @ w["att.g1"]) @ w["att.g2"]
    out = (head_normed(found, w) + itself.flatten(-2)).to(x.dtype) * gate
    return F.linear(out, w["att.output.weight"]), first


def _low_rank(w: Block, name: str, x: Tensor) -> Tensor:
    return x @ w[f"att.{name}1"] @ w[f"att.{name}2"]


def _recall(
    r: Tensor, k: Tensor, v: Tensor, decay: Tensor, removed: Tensor, added: Tensor, memory: Tensor
) -> Tensor:  # fmt: skip
    """What ``r`` finds for each token, once its ``k`` and ``v`` are remembered.

    Before that, what the memory holds for the key ``removed`` is taken out of it, as far as ``added`` says. All are
    [B, T, H, N] in float32, as is the result; ``memory`` [B, H, N, N] is changed in place.
    """
    found = torch.empty_like(v)
    by_time = zip(*(each.unbind(1) for each in (found, r, k, v, decay, removed, added)), strict=True)
    for found_t, r_t, k_t, v_t, decay_t, removed_t, added_t in by_time:
        old = memory @ removed_t[..., None]
        memory.mul_(decay_t[:, :, None]).addcmul_(old, added_t[:, :, None], value=-1)
        memory.addcmul_(v_t[..., None], k_t[:, :, None])
        found_t.copy_((memory @ r_t[..., None]).squeeze(-1))
    return found


def _mix_channels(w: Block, x: Tensor, memory: LayerState) -> Tensor:
    return channels(w, torch.lerp(x, before(x, memory.channel_last), w["ffn.x_k"]))
