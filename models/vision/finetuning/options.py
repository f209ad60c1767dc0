"""How a model is finetuned: what is trained, for how long, and how images are augmented."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from models.errors import FinetuneError

EPOCHS_MAX, BATCH_MAX = 10_000, 4096
FROZEN_RATE, FULL_RATE = 1e-2, 1e-3


@dataclass(frozen=True, kw_only=True)
class Options:
    """The choices of a run; the same choices and data give the same model on the same machine with one thread."""

    is_full: bool = False
    """Whether all weights are trained; otherwise the classifier alone."""
    epochs: int = 30
    patience: int = 5
    """After how many epochs without a better one it stops."""
    batch_size: int = 32
    learning_rate: float | None = None
    """Of AdamW; ``None`` is 0.01 for the classifier alone and 0.001 for all weights."""
    held_out: float = 0.2
    """The share of the images that the model is judged by, where the data does not say."""
    seed: int = 0
    min_scale: float = 0.35
    """The smallest part of an image that an augmented one shows (timm's ``scale``)."""
    flip: bool = True
    """Whether augmented images may be mirrored."""
    augment: str | None = None
    """A policy of timm's ``auto_augment``, such as ``rand-m9-mstd0.5``, instead of changes of colour."""

    def __post_init__(self) -> None:
        problem = next(self._problems(), None)
        if problem is not None:
            raise FinetuneError(problem)

    def _problems(self) -> Iterator[str]:
        for name, low, high in (
            ("epochs", 1, EPOCHS_MAX),
            ("patience", 1, EPOCHS_MAX),
            ("batch_size", 2, BATCH_MAX),
            ("held_out", 0.01, 0.9),
            ("seed", 0, 2**31 - 1),
            ("min_scale", 0.01, 1),
        ):
            if not low <= getattr(self, name) <= high:
                yield f"{name.replace('_', '-')} must be from {low} to {high}"
        if self.learning_rate is not None and not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            yield "learning-rate must be greater than 0"

    @property
    def rate(self) -> float:
        """The learning rate after the warm-up."""
        return self.learning_rate or (FULL_RATE if self.is_full else FROZEN_RATE)
