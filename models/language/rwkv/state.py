"""The memory of recurrent sequences: of one size, however long they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LayerState:
    """What one layer remembers of each of B sequences; the tensors are changed in place."""

    attention_last: Tensor
    """[B, C]: what the time mixing saw last."""
    channel_last: Tensor
    """[B, C]: what the channel mixing saw last."""
    wkv: Tensor
    """[B, H, N, N] in float32: keys by values in versions 5 and 6, values by keys in version 7."""


@dataclass(frozen=True)
class State:
    """What all L layers remember of each of B sequences, a row for each; the tensors are changed in place."""

    last: Tensor
    """[L, 2, B, C]"""
    wkv: Tensor
    """[L, B, H, N, N] in float32."""

    def rows(self, first: int, end: int) -> State:
        """A view of some sequences."""
        return State(self.last[:, :, first:end], self.wkv[:, first:end])

    def layers(self) -> Iterator[LayerState]:
        """Views of the layers, in order."""
        for last, wkv in zip(self.last, self.wkv, strict=True):
            yield LayerState(last[0], last[1], wkv)

    def take(self, other: State) -> None:
        """Become what ``other``, of as many rows, is now."""
        self.last.copy_(other.last)
        self.wkv.copy_(other.wkv)

    def copy(self) -> State:
        """The same, apart from this one."""
        return State(self.last.clone(), self.wkv.clone())

    def clear(self) -> None:
        """Remember nothing."""
        self.last.zero_()
        self.wkv.zero_()
