"""The steps that several versions of RWKV have in common, for B sequences of T tokens at once.

C is the width, H the number of heads and N the size of each, so that C = H * N.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Block = Mapping[str, Tensor]
"""The tensors of one layer by their names in the checkpoint, without ``blocks.<number>.``."""
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
"""What every version's layers have; :func:`models.language.rwkv.weights.check` reads these shapes."""
_HEAD_NORM_EPS = 64e-5


def normed(x: Tensor, w: Block, name: str) -> Tensor:
    """The layer's normalisation ``name`` of ``x`` [B, T, C]."""
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def before(x: Tensor, last: Tensor) -> Tensor:
    """What came before each token of ``x`` [B, T, C]: before the first it was ``last`` [B, C], which moves on."""
    shifted = torch.cat((last[:, None], x[:, :-1]), dim=1)
    last.copy_(x[:, -1])
    return shifted


def heads(x: Tensor, like: Tensor) -> Tensor:
    """``x`` [B, T, C] in float32 by the heads of ``like`` [..., H, N]: [B, T, H, N]."""
    return x.float().view(*x.shape[:-1], *like.shape[-2:])


def head_normed(x: Tensor, w: Block) -> Tensor:
    """``x`` [B, T, H, N], each head normalised by itself: [B, T, C]."""
    flat = x.reshape(-1, x.shape[-2] * x.shape[-1])
    normalised = F.group_norm(flat, x.shape[-2], w["att.ln_x.weight"], w["att.ln_x.bias"], _HEAD_NORM_EPS)
    return normalised.view(*x.shape[:2], -1)


def recall(r: Tensor, k: Tensor, v: Tensor, decay: Tensor, bonus: Tensor, memory: Tensor) -> Tensor:
    """The recurrence of versions 5 and 6: what ``r`` finds for each token, while ``k`` and ``v`` are remembered.

    Everything is float32: ``r``, ``k``, ``v`` and ``decay`` [B, T, H, N], ``bonus`` [H, N], which weighs the token
    itself, and ``memory`` [B, H, N, N], which is changed in place. The result is [B, T, H, N].
    """
    found = (r * bonus * k).sum(-1, keepdim=True) * v
    by_time = zip(*(each.unbind(1) for each in (found, r, k, v, decay)), strict=True)
    for found_t, r_t, k_t, v_t, decay_t in by_time:
        found_t.add_((r_t[:, :, None] @ memory).squeeze(2))
        memory.mul_(decay_t[..., None]).addcmul_(k_t[..., None], v_t[:, :, None])
    return found


def gated_channels(w: Block, for_key: Tensor, for_gate: Tensor) -> Tensor:
    """The channel mixing of versions 5 and 6, of [B, T, C] as mixed for its key and for its gate."""
    gate = torch.sigmoid(F.linear(for_gate, w["ffn.receptance.weight"]))
    return gate * channels(w, for_key)


def channels(w: Block, for_key: Tensor) -> Tensor:
    """The channel mixing without a gate, of [B, T, C]."""
    hidden = torch.relu(F.linear(for_key, w["ffn.key.weight"])).square()
    return F.linear(hidden, w["ffn.value.weight"])
