"""The types that plans and the engine exchange: tasks, pieces of work, load requests, and the plans themselves."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar, cast, runtime_checkable

import torch
from PIL.Image import Image

from models.catalog.catalog import Catalog
from models.downloads.progress import Progress
from models.errors import JobFailure
from models.jobs.params import JobParams
from models.jobs.results import JobOutput

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Result: TypeAlias = Image | JobOutput
"""What a plan returns: one image, or whatever a job can give back."""
Saved: TypeAlias = Mapping[str, Any]
"""A state as plain values: numbers, strings, tensors on the CPU, and lists, tuples and mappings of these."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One job as the engine receives it."""

    kind: str
    params: JobParams
    catalog: Catalog
    """The catalog at the time when the worker took the job; it says where models and auxiliary models are stored."""
    images: Mapping[str, Image]
    """The input images by source: one for each source that ``params.sources`` names."""


class Work(Protocol[T_co]):
    """A part of a job that needs one or more forwards, one for each step of the engine.

    Pieces of work with equal ``group_key`` may share a forward. The outcome of one must not depend on the others.
    """

    step: int
    """The number of steps taken so far."""

    @property
    def steps(self) -> int:
        """The number of steps in all."""

    @property
    def group_key(self) -> Hashable:
        """Equal for pieces of work that can share a forward."""

    @property
    def cost_key(self) -> Hashable:
        """Equal for pieces of work whose forwards take about the same time for the same number of inputs."""

    @property
    def step_cost_key(self) -> Hashable:
        """Equal for steps that take the same time, within one ``cost_key``: some steps are cheaper than others."""

    @property
    def inputs(self) -> int:
        """The number of inputs that this piece of work adds to a forward."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The sizes of batches that its model runs, ascending: it pads others; empty if it runs any size."""

    @property
    def device(self) -> torch.device:
        """The device on which it runs."""

    def forward(self, batch: Sequence[Self]) -> list[torch.Tensor | JobFailure]:
        """Run the model once for all of ``batch``, which includes ``self``.

        Returns one output, or one failure, for each piece of work. An exception fails all of them.
        """

    def advance(self, batch: Sequence[Self], outputs: Sequence[torch.Tensor]) -> Sequence[JobFailure | None]:
        """Take one step of each piece of work in ``batch`` with its output of :meth:`forward`.

        Returns each one's failure, or ``None``. An exception fails all of them.
        """

    def expect(self, output: torch.Tensor) -> torch.Tensor | None:
        """The expected result, for :meth:`preview`, or ``None``; to be called before :meth:`advance`."""

    def preview(self, expected: Sequence[torch.Tensor]) -> Sequence[Image]:
        """Rough images of what :meth:`expect` returned for pieces of work of this one's group, made together."""

    def finish(self, batch: Sequence[Self]) -> Sequence[T_co | JobFailure]:
        """The outcome of each piece of work in ``batch``, or its failure; all of them have taken their last step."""


@runtime_checkable
class Resumable(Protocol):
    """A piece of work that can go on elsewhere at the step where it is; all others begin again."""

    def save(self) -> Saved:
        """The state between two steps."""

    def restore(self, state: Saved) -> bool:
        """Go on from ``state``; false, and no change, if it is that of another piece of work.

        The same plan made this piece of work as the one that was saved, and it has taken no step.
        """


@runtime_checkable
class OnBackend(Protocol):
    """A piece of work whose model runs on one of several backends."""

    @property
    def backend(self) -> str:
        """The name of the backend."""


@dataclass(frozen=True)
class Download:
    """The download of the files of a model, which comes before the load."""

    is_needed: Callable[[], bool]
    """Whether files are missing; asked in the engine's thread when the model is not loaded."""
    run: Callable[[Progress], None]
    """Brings the files, and counts their bytes; called in a thread of its own."""


def _no_version() -> Hashable:
    return None


@dataclass(frozen=True)
class LoadRequest(Generic[T_co]):
    """A request for a model, which is loaded once and then shared by all rows."""

    key: Hashable
    """Requests with equal keys get the same object."""
    name: str
    """The model's name, for people."""
    load: Callable[[], T_co]
    """Loads the model; called in the loader thread."""
    download: Download | None = None
    """``None`` if the model's files are on this machine or nowhere."""
    parent: Hashable = None
    """The key of the model whose tensors the loaded one shares, and which is dropped only together with it."""
    version: Callable[[], Hashable] = _no_version
    """Changes when the model should be loaded anew, which is done as soon as no row uses it."""


@dataclass(frozen=True)
class HostWork(Generic[T_co]):
    """Work for the CPU alone, such as resizing an image; on a GPU it holds up no other row's encoding or decoding."""

    compute: Callable[[], T_co]
    is_long: bool = False
    """Whether it may take seconds; then it holds up the steps of other rows on a CPU neither."""


@dataclass(frozen=True)
class StepsAhead:
    """About how many steps the plan takes after its next piece of work, so that the progress does not fall then."""

    steps: int


PlanPart: TypeAlias = Generator[LoadRequest[object] | Work[object] | HostWork[object] | StepsAhead, object, T]
"""A part of a plan that returns a ``T``; plans include it by ``yield from``."""
Plan: TypeAlias = PlanPart[Result]
"""The way of one job from task to result, as a generator.

A plan yields what it needs next and is sent the outcome: for a load request the loaded model, for a piece of work what
its ``finish`` returned, for host work its result. The code between two yields is preparation, such as encoding the
prompt.
"""


@dataclass(frozen=True)
class PlanEnd:
    """The end of a plan that succeeded."""

    result: Result


PlanStep: TypeAlias = LoadRequest[object] | Work[object] | HostWork[object] | StepsAhead | PlanEnd | JobFailure
"""What one resumption of a plan gives the engine."""


def load(request: LoadRequest[T]) -> PlanPart[T]:
    """Wait for ``request`` and return the loaded model."""
    return cast(T, (yield request))


def on_host(compute: Callable[[], T], *, is_long: bool = False) -> PlanPart[T]:
    """Wait for ``compute``, which uses the CPU alone, and return its result; what it raises is the plan's failure.

    Args:
        is_long: whether it may take seconds, as with large images.
    """
    return cast(T, (yield HostWork(compute, is_long)))


def run(work: Work[T], ahead: int = 0) -> PlanPart[T]:
    """Wait until ``work`` has taken all its steps and return its outcome.

    Args:
        ahead: about how many steps the plan takes after ``work``.
    """
    if ahead:
        yield StepsAhead(ahead)
    return cast(T, (yield work))
