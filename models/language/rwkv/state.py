"""The recurrent state of sequences; its size does not depend on their length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LayerState:
    """The state of one layer for B sequences; the tensors are updated in place."""

    attention_last: Tensor
    """[B, C]: the last input of the time mixing."""
    channel_last: Tensor
    """[B, C]: the last input of the channel mixing."""
    wkv: Tensor
    """[B, H, N, N] in float32: keys by values in versions 5 and 6, values by keys in version 7."""


@dataclass(frozen=True)
class State:
    """The state of all L layers for B sequences, one row for each; the tensors are updated in place."""

    last: Tensor
    """[L, 2, B, C]: the last inputs of time mixing and channel mixing."""
    wkv: Tensor
    """[L, B, H, N, N] in float32."""

    def rows(self, first: int, end: int) -> State:
        """A view of the rows from ``first`` to before ``end``."""
        return State(self.last[:, :, first:end], self.wkv[:, first:end])

    def layers(self) -> Iterator[LayerState]:
        """Views of the layers, in order."""
        for last, wkv in zip(self.last, self.wkv, strict=True):
            yield LayerState(last[0], last[1], wkv)

    def assign(self, other: State) -> None:
        """Copy the values of ``other``, which has the same number of rows."""
        self.last.copy_(other.last)
        self.wkv.copy_(other.wkv)

    def copy(self) -> State:
        return State(self.last.clone(), self.wkv.clone())

    def clear(self) -> None:
        self.last.zero_()
        self.wkv.zero_()
