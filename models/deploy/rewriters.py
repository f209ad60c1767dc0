"""Rewriters: what is changed about a module while it is exported, because it cannot be traced as it is.

MMDeploy has three kinds of rewriters, for functions, modules and symbolic operators. torch.export traces what really
runs, so that most of them are not needed: symbolic ones never (operators are decomposed to those that backends have),
function rewriters only where Python branches on the values of tensors, and module rewriters where a module computes in
a way that depends on sizes at the time of tracing.

To add one: write a function that yields with the change in effect, and name it in :data:`REWRITERS` with the families
and backends that need it. ``ANY`` stands for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.embeddings import PatchEmbed
from torch import nn
from torch.overrides import TorchFunctionMode

from models.catalog.families import PIXART_SIGMA

ANY = "*"


@dataclass(frozen=True)
class Rewriter:
    """A change in effect while a module is exported."""

    why: str
    applies: Callable[[nn.Module], AbstractContextManager[None]]
    family: str = ANY
    backend: str = ANY

    def serves(self, family: str, backend: str) -> bool:
        """Whether it is for this family and this backend."""
        return self.family in (ANY, family) and self.backend in (ANY, backend)


@contextmanager
def _plain_attention(module: nn.Module) -> Iterator[None]:
    """Let transformers' models attend by torch's operator, and never skip their masks.

    Their default chooses by the values of the mask, which a graph cannot.
    """
    config = getattr(module, "config", None)
    chosen = getattr(config, "_attn_implementation", None)
    if config is None or chosen is None:
        yield
        return
    config._attn_implementation = "eager"
    try:
        yield
    finally:
        config._attn_implementation = chosen


@contextmanager
def _any_size(module: nn.Module) -> Iterator[None]:
    """Let a UNet always pass the target sizes of its upsampling on.

    diffusers does so only for sizes that cannot be halved evenly, and decides by the size at the time of tracing.
    """
    halvings = getattr(module, "num_upsamplers", None)
    if not isinstance(halvings, int):
        yield
        return
    module.num_upsamplers = _NO_SIZE_HALVES_SO_OFTEN  # type: ignore[assignment]
    try:
        yield
    finally:
        module.num_upsamplers = halvings  # type: ignore[assignment]


_NO_SIZE_HALVES_SO_OFTEN = 30


@contextmanager
def _any_grid(module: nn.Module) -> Iterator[None]:
    """Let a transformer compute the positions of its patches for every size.

    diffusers keeps them for the size of training, and takes these if a side has the length of that: a trace with such a
    side works for no other. What it computes for that size is equal to what it keeps.
    """
    embeds = [each for each in module.modules() if isinstance(each, PatchEmbed) and not each.pos_embed_max_size]
    sides = [(each.height, each.width) for each in embeds]
    for each in embeds:
        each.height = each.width = _NO_SIDE
    try:
        yield
    finally:
        for each, (height, width) in zip(embeds, sides, strict=True):
            each.height, each.width = height, width


_NO_SIDE = -1


class _NoIdleSqueeze(TorchFunctionMode):
    """Leaves out each ``squeeze`` of one axis that is longer than 1, which changes nothing."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See :class:`TorchFunctionMode`."""
        if func in (torch.squeeze, torch.Tensor.squeeze) and len(args) == 2 and args[0].shape[args[1]] != 1:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def _no_idle_squeeze(module: nn.Module) -> Iterator[None]:
    """Trace no ``squeeze`` of an axis that is longer than 1.

    diffusers' PixArt transformer squeezes the axis of its patches after the last block. For torch that is nothing; the
    operator ``Squeeze`` of ONNX fails for every length but 1.
    """
    with _NoIdleSqueeze():
        yield


REWRITERS: list[Rewriter] = [
    Rewriter("masks are skipped by their values", _plain_attention),
    Rewriter("sizes decide how a UNet upsamples", _any_size),
    Rewriter("sizes decide where the positions of patches come from", _any_grid),
    Rewriter("an axis that is longer than 1 is squeezed", _no_idle_squeeze, family=PIXART_SIGMA),
]


def rewriters_for(family: str, backend: str) -> tuple[Rewriter, ...]:
    """The rewriters that are in effect; backends with the same ones share a trace."""
    return tuple(each for each in REWRITERS if each.serves(family, backend))


@contextmanager
def rewritten(module: nn.Module, family: str, backend: str) -> Iterator[None]:
    """The context in which ``module`` is exported."""
    with ExitStack() as stack:
        for each in rewriters_for(family, backend):
            stack.enter_context(each.applies(module))
        yield
