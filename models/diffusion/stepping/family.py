"""The interface of a family of steps, and the rows that one stacked step is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Coefficients = tuple[float, ...]
"""The coefficients of one step of one row, in the order in which the family's ``step`` takes them."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What one stacked step is given: N rows, whose schedulers have the same family, variant and type of prediction."""

    schedulers: Sequence[Any]
    """Of diffusers, each with its own state; a step reads them and changes none."""
    prediction_type: str | None
    """What the model predicts: ``epsilon``, ``v_prediction`` or ``sample``; ``None`` for flow matching."""
    latents: torch.Tensor
    """[N, C, h, w]"""
    prediction: torch.Tensor
    """[N, C, h, w], the model's output after guidance, of the latents' dtype."""
    columns: Sequence[torch.Tensor]
    """The rows' coefficients, float32: one [N, 1, 1, 1] for each coefficient."""
    noise: torch.Tensor | None
    """[N, C, h, w] if the family adds noise in this step."""


class StepFamily(ABC):
    """How the schedulers of one kind take one step, for many rows at once."""

    noise_dtype: torch.dtype | None = None
    """The dtype in which noise is drawn; ``None`` for that of the latents."""

    @abstractmethod
    def covers(self, scheduler: Any) -> bool:
        """Whether the formula covers the options of ``scheduler``; if not, it steps by itself."""

    @abstractmethod
    def table(self, scheduler: Any) -> Mapping[int, Coefficients]:
        """The coefficients of all steps of ``scheduler``, by :meth:`key`."""

    def key(self, scheduler: Any, timestep: float) -> int:
        """The key of the next step in :meth:`table`: the number of the step, for schedulers that count them."""
        return position(scheduler)

    def adjusted(self, scheduler: Any, coefficients: Coefficients) -> Coefficients:
        """``coefficients``, changed for the state of ``scheduler``."""
        return coefficients

    def adds_noise(self, scheduler: Any) -> bool:
        """Whether the next step adds noise."""
        return False

    def variant(self, scheduler: Any) -> Hashable:
        """Equal for schedulers whose next steps have the same formula."""
        return None

    @abstractmethod
    def step(self, stack: Stack) -> tuple[torch.Tensor, ...]:
        """The latents [N, C, h, w] after the step, and then what :meth:`commit` keeps of it, [N, C, h, w] each."""

    def commit(self, scheduler: Any, coefficients: Coefficients, kept: Sequence[torch.Tensor]) -> None:
        """Set the state of ``scheduler`` to what its own step would leave.

        Args:
            scheduler: of one row.
            coefficients: with which this row took the step.
            kept: this row's part of what :meth:`step` returned after the latents, [1, C, h, w] each.
        """
        scheduler._step_index = position(scheduler) + 1


def position(scheduler: Any) -> int:
    """The number of the next step, for schedulers that count steps; before the first one it is where they begin."""
    index: int = scheduler.begin_index if scheduler.step_index is None else scheduler.step_index
    return index


def kept_or_own(outputs: Sequence[torch.Tensor | None], like: torch.Tensor) -> torch.Tensor:
    """What the rows kept of an earlier step, [N, C, h, w]; where a row kept nothing yet, its own part of ``like``.

    Its coefficient is 0 then, because the first steps are of a lower order. It must be the row's own: 0 times infinity
    is not 0, so the overflow of another row would spoil this one.

    Args:
        outputs: [1, C, h, w] each.
        like: of the same rows, [N, C, h, w].
    """
    return torch.cat([like[index : index + 1] if each is None else each for index, each in enumerate(outputs)])


def rows_of(*columns: torch.Tensor) -> dict[int, Coefficients]:
    """The table with the given ``columns`` [steps], by the number of the step."""
    return dict(enumerate(zip(*(column.tolist() for column in columns), strict=True)))
