"""The interface between the job loop and what runs its jobs: executors, and the events that they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from PIL.Image import Image

from models.errors import JobFailure
from models.jobs.kinds import JobKind
from models.jobs.results import JobOutput, Json
from workers.held_jobs import HeldJob
from workers.warm import WorkerStatus

PREFETCH = 2
"""How many jobs an executor takes ahead at least; all others stay in the queue, where any worker can take them."""


@dataclass(frozen=True)
class Loading:
    """A job waits until something is downloaded or loaded."""

    execution_id: str
    name: str
    """What is loaded, in words."""
    done_bytes: int | None = None
    """The bytes that are downloaded; ``None`` if nothing is downloaded, or no longer."""
    total_bytes: int | None = None


@dataclass(frozen=True)
class Progressed:
    """A job took one more step."""

    execution_id: str
    step: int
    """Steps taken so far, 1..``steps``."""
    steps: int
    preview: Image | None = None


@dataclass(frozen=True)
class Noted:
    """A job tells something of its own, such as the loss of an epoch."""

    execution_id: str
    document: Mapping[str, Json]


@dataclass(frozen=True)
class Finished:
    """A job has its result, and the executor has it no longer."""

    execution_id: str
    output: JobOutput
    timings: Mapping[str, float]
    """Seconds per stage, for the record; storing the result adds to ``finish_s``."""
    backends: tuple[str, ...] = ()
    """What ran the models of the job, if they run on one of several backends."""


@dataclass(frozen=True)
class Failed:
    """A job failed, and the executor has it no longer."""

    execution_id: str
    failure: JobFailure


Event = Loading | Progressed | Noted | Finished | Failed


class Executor(Protocol):
    """Runs jobs; all methods and properties but :attr:`longest_call_s` are for the loop's thread."""

    @property
    def room(self) -> int:
        """How many more jobs it could begin soon, 0 or less if enough wait; also read by the thread that takes jobs."""

    @property
    def is_idle(self) -> bool:
        """Whether the loop may sleep until a job comes, instead of calling :meth:`poll` at once."""

    @property
    def longest_call_s(self) -> float:
        """For how long a call has been running that nothing can interrupt; 0 if there is none."""

    def start(self, job: HeldJob) -> None:
        """Run ``job``; its result comes from :meth:`poll`."""

    def save(self, execution_id: str) -> bytes | None:
        """What is drawn of a running job, for the job's next execution; ``None`` if that must begin again."""

    def stop(self, execution_id: str) -> None:
        """Stop a job; :meth:`poll` reports nothing about it from now on."""

    def poll(self) -> list[Event]:
        """Do the next piece of work, if the executor has no threads of its own, and return what happened."""

    def close(self) -> None:
        """Release threads and memory."""


class DiffusionExecutor(Executor, Protocol):
    """The executor that owns a diffusion engine."""

    def status(self) -> WorkerStatus:
        """What is loaded and whether there is room; may be called from any thread."""

    def load_default(self) -> None:
        """Load the default model of the catalog; a failure is noted in the ledger."""

    def measure_default(self, is_over: Callable[[], bool]) -> None:
        """Measure the default model for some seconds, or until ``is_over()``, so that jobs get a good batch size."""


class Executors:
    """The executors of one worker."""

    def __init__(self, diffusion: DiffusionExecutor | None, functions: Executor | None) -> None:
        self._diffusion, self._functions = diffusion, functions
        self.all: tuple[Executor, ...] = tuple(each for each in (diffusion, functions) if each is not None)

    def use_free_time(self, is_over: Callable[[], bool]) -> None:
        """Do what helps later jobs, until ``is_over()``; ends within seconds."""
        if self._diffusion is not None:
            self._diffusion.measure_default(is_over)

    def of(self, kind: JobKind) -> Executor:
        """The executor that runs ``kind``, which must be one of this worker's kinds."""
        executor = self._functions if kind.plan is None else self._diffusion
        assert executor is not None
        return executor

    @property
    def are_idle(self) -> bool:
        """Whether all of them are idle."""
        return all(executor.is_idle for executor in self.all)

    @property
    def room(self) -> int:
        """How many more jobs could begin soon, whichever executor they are for."""
        return min(executor.room for executor in self.all)

    @property
    def longest_call_s(self) -> float:
        """For how long a call has been running that nothing can interrupt; 0 if there is none."""
        return max(executor.longest_call_s for executor in self.all)

    def close(self) -> None:
        """Close all of them."""
        for executor in self.all:
            executor.close()
