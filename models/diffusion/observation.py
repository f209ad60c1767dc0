"""What the engine tells an observer about each step, for metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.diffusion.row import Row
from models.diffusion.work import Work


@dataclass(frozen=True)
class EngineStep:
    """One step of the engine that ran a forward."""

    model: str | None
    """The model of the first row; ``None`` for jobs without one, such as upscaling."""
    family: str | None
    """The architecture of that model."""
    rows: int
    """The rows that shared the forward."""
    inputs: int
    """The inputs of the forward: a guided row has two."""
    seconds: float
    """The whole step: the forward, the steps of the samplers, and what else the engine's thread did in between."""


Observer = Callable[[EngineStep], None]
"""Is called in the engine's thread after each step with a forward, and must return at once."""


def engine_step(rows: Sequence[Row], batch: Sequence[Work[object]], seconds: float) -> EngineStep:
    """The step that ran ``batch``, the work of ``rows``."""
    task = rows[0].task
    model = task.params.model_name
    family = task.catalog[model].family if model is not None and model in task.catalog else None
    return EngineStep(model, family, len(rows), sum(work.inputs for work in batch), seconds)
