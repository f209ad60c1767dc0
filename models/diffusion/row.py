"""Rows: one row is one job in the engine, with its plan, its state and the device time that it has used."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from PIL.Image import Image

from models.diffusion.events import Loading
from models.diffusion.snapshots import Snapshot
from models.diffusion.work import LoadRequest, OnBackend, Plan, PlanStep, Task, Work
from models.errors import JobFailure

SHARE_BASE = 4.0
"""Each level of priority multiplies a row's share of what its owner has of the device by this number."""


@dataclass(frozen=True)
class Waiting:
    """The row waits until the scheduler admits it."""


@dataclass(frozen=True)
class Preparing:
    """The row's plan runs, up to its next request; for example it encodes the prompt."""

    future: Future[PlanStep]


@dataclass(frozen=True)
class AwaitingLoad:
    """The row waits for a model."""

    future: Future[object]
    """The loaded model, or a ``JobFailure``."""
    request: LoadRequest[object]


@dataclass(frozen=True)
class OnHost:
    """The row waits for work that the CPU alone does for it; for example its input image is resized."""

    future: Future[object]
    """The result, or a ``JobFailure``."""


@dataclass(frozen=True)
class Running:
    """The row takes steps, together with others, whenever the scheduler selects it."""

    work: Work[object]


@dataclass(frozen=True)
class Finishing:
    """The row's work has taken its last step, and its outcome is computed; for example latents are decoded."""

    future: Future[object]
    """The outcome, or a ``JobFailure``."""
    work: Work[object]


@dataclass(frozen=True)
class Ended:
    """The row has left the engine, with a result or a failure."""


State: TypeAlias = Waiting | Preparing | AwaitingLoad | OnHost | Running | Finishing | Ended
_PENDING = Preparing | AwaitingLoad | OnHost | Finishing
"""The states with a future."""


@dataclass(eq=False)
class Row:
    """One job in the engine. Only the engine's thread changes a row after its admission."""

    row_id: str
    task: Task
    plan: Plan
    owner: str = ""
    """Who asked for the image; owners share the device, by their weights."""
    weight: int = 1
    """The share of the owner, compared with those of others."""
    state: State = field(default_factory=Waiting)
    work: Work[object] | None = field(default=None, init=False)
    """The current piece of work, ``None`` in every state but :class:`Running`."""
    virtual_time_s: float = 0.0
    """Device time used, in seconds divided by the row's share; counted from the least served row at admission."""
    admitted_at: float = 0.0
    """Seconds on the monotonic clock."""
    steps_done: int = 0
    """Steps of the pieces of work that are complete."""
    steps_ahead: int = 0
    """About how many steps follow the current piece of work."""
    backends: list[str] = field(default_factory=list)
    """What ran the denoisers of the row here, each once."""
    outcomes: list[object] = field(default_factory=list)
    """The outcomes of the pieces of work that are complete."""
    snapshot: Snapshot | None = None
    """What another engine had drawn of the row, until this one is as far."""
    is_watched: Callable[[], bool] = lambda: True
    """Whether somebody wants previews of the row now."""
    preview: Future[Image | JobFailure] | None = None
    """The preview that is being made, until the row's next progress shows it."""
    was_retried: bool = False
    """Whether the row was prepared once more, after the memory was full."""
    keys: frozenset[Hashable] = frozenset()
    """The keys of all models that were loaded for the row; the model cache keeps these."""
    _state_since: float = field(default_factory=time.monotonic)
    told_loading: Loading | None = None
    """The last event that told what the row waits for."""
    _seconds: dict[type[State], float] = field(default_factory=lambda: defaultdict(float))

    def enter(self, state: State) -> None:
        """Change the state, and add the time spent in the previous one to its account."""
        now = time.monotonic()
        self._seconds[type(self.state)] += now - self._state_since
        self.state, self._state_since = state, now
        self.work = state.work if isinstance(state, Running) else None
        if isinstance(self.work, OnBackend) and self.work.backend not in self.backends:
            self.backends.append(self.work.backend)

    @property
    def piece(self) -> Work[object] | None:
        """The piece of work in progress: it takes steps, or its outcome is computed."""
        return self.state.work if isinstance(self.state, Running | Finishing) else None

    def count_steps(self, work: Work[object]) -> None:
        """Count the steps of ``work``, which is complete."""
        self.steps_done += work.steps
        self.steps_ahead = 0

    def charge(self, seconds: float) -> None:
        """Add ``seconds`` of device time to the row's virtual time; a higher priority is charged less."""
        self.virtual_time_s += seconds / SHARE_BASE**self.task.params.priority

    @property
    def pending(self) -> Future[Any] | None:
        """The future that the row waits for; ``None`` in states without one."""
        return self.state.future if isinstance(self.state, _PENDING) else None

    @property
    def is_ready(self) -> bool:
        """Whether the future is done that the row waits for."""
        return self.pending is not None and self.pending.done()

    @property
    def cost_key(self) -> Hashable:
        """The cost key of the current work, otherwise that of the first work to expect."""
        return self.task.params.cost_key(self.task.catalog) if self.work is None else self.work.cost_key

    @property
    def prepare_s(self) -> float:
        """Seconds of preparation and of waiting for models."""
        return self._seconds[Preparing] + self._seconds[AwaitingLoad] + self._seconds[OnHost]

    @property
    def denoise_s(self) -> float:
        """Seconds from the first to the last step of each piece of work, including the steps of other rows."""
        return self._seconds[Running]

    @property
    def finish_s(self) -> float:
        """Seconds of computing outcomes, including those of rows that finished at the same step."""
        return self._seconds[Finishing]
