"""Operations that several versions of RWKV share, for B sequences of T tokens.

C is the model's width, H the number of heads and N the size of a head: C = H * N. The reference is the package rwkv.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Block = Mapping[str, Tensor]
"""The tensors of one layer, by their names in the checkpoint without ``blocks.<number>.``."""
BLOCK_SHAPES: Mapping[str, str] = {
    "ln1.weight": "C",
    "ln1.bias": "C",
    "ln2.weight": "C",
    "ln2.bias": "C",
    "att.receptance.weight": "C C",
    "att.key.weight": "C C",
    "att.value.weight": "C C",
    "att.output.weight": "C C",
    "att.ln_x.weight": "C",
    "att.ln_x.bias": "C",
    "ffn.key.weight": "F C",
    "ffn.value.weight": "C F",
}
"""The tensors of a layer in every version, in the notation of :func:`models.language.rwkv.weights.check`."""
_HEAD_NORM_EPS = 64e-5


def layer_norm(x: Tensor, w: Block, name: str) -> Tensor:
    """The layer norm ``name`` of ``x`` [B, T, C]."""
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def token_shift(x: Tensor, last: Tensor) -> Tensor:
    """``x`` [B, T, C] shifted by one token, beginning with ``last`` [B, C], which becomes the last token of ``x``."""
    shifted = torch.cat((last[:, None], x[:, :-1]), dim=1)
    last.copy_(x[:, -1])
    return shifted


def heads(x: Tensor, like: Tensor) -> Tensor:
    """``x`` [B, T, C] in float32, split into the heads of ``like`` [..., H, N]: [B, T, H, N]."""
    return x.float().view(*x.shape[:-1], *like.shape[-2:])


def group_norm(x: Tensor, w: Block) -> Tensor:
    """The group norm of ``x`` [B, T, H, N] with one group for each head: [B, T, C]."""
    flat = x.reshape(-1, x.shape[-2] * x.shape[-1])
    normalised = F.group_norm(flat, x.shape[-2], w["att.ln_x.weight"], w["att.ln_x.bias"], _HEAD_NORM_EPS)
    return normalised.view(*x.shape[:2], -1)


def wkv(r: Tensor, k: Tensor, v: Tensor, decay: Tensor, bonus: Tensor, state: Tensor) -> Tensor:
    """The WKV recurrence of versions 5 and 6: each token's read-out by ``r``, then its update with ``k`` and ``v``.

    Everything is float32: ``r``, ``k``, ``v`` and ``decay`` [B, T, H, N]; ``bonus`` [H, N], the weight of the current
    token; ``state`` [B, H, N, N], which is updated in place. The result is [B, T, H, N].
    """
    out = (r * bonus * k).sum(-1, keepdim=True) * v
    by_time = zip(*(each.unbind(1) for each in (out, r, k, v, decay)), strict=True)
    for out_t, r_t, k_t, v_t, decay_t in by_time:
        out_t.add_((r_t[:, :, None] @ state).squeeze(2))
        state.mul_(decay_t[..., None]).addcmul_(k_t[..., None], v_t[:, :, None])
    return out


def gated_channel_mix(w: Block, for_key: Tensor, for_gate: Tensor) -> Tensor:
    """The channel mixing of versions 5 and 6; the inputs are [B, T, C], mixed for the key and for the gate."""
    gate = torch.sigmoid(F.linear(for_gate, w["ffn.receptance.weight"]))
    return gate * channel_mix(w, for_key)


def channel_mix(w: Block, for_key: Tensor) -> Tensor:
    """The channel mixing without a gate; the input is [B, T, C]."""
    hidden = torch.relu(F.linear(for_key, w["ffn.key.weight"])).square()
    return F.linear(hidden, w["ffn.value.weight"])
