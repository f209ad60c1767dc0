"""Job kinds that are plain functions: what such a function is called with, and the threads that call it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from PIL.Image import Image

from models.catalog.catalog import Catalog
from models.errors import InputUnavailable, InternalFailure, JobFailure, OutOfMemory, PhotogramError
from models.jobs.kinds import JobKind, resolve
from models.jobs.params import JobParams
from models.jobs.results import JobOutput, Json
from service.backbone.settings import Settings
from workers.executors import PREFETCH, Event, Failed, Finished, Noted, Progressed
from workers.held_jobs import HeldJob

log = logging.getLogger(__name__)

STEPS_MAX = 2**53 - 1
"""The largest number of steps: larger integers do not survive JSON in every client."""
THREADS = 4
"""How many functions one worker calls at the same time."""


_DEFAULTS = Settings()


def _no_source(source: str) -> BinaryIO:
    raise InputUnavailable(f"there is no store that has {source}")


class JobCanceled(PhotogramError):
    """The job of this call was canceled, exceeded its deadline, or goes back to the queue; let it pass."""


@dataclass(frozen=True, kw_only=True)
class FunctionCall:
    """One job, as its function gets it."""

    kind: str
    job_id: str
    execution_id: str
    """Fences what the function itself writes about the job."""
    owner: str
    """The id of the API key that the job belongs to."""
    params: JobParams
    catalog: Catalog
    """The catalog as it was when the job was taken."""
    images: Mapping[str, Image]
    """The images that ``params.sources`` names, by source: masks as L, all others as RGB."""
    report: Callable[[int, int], None]
    """``report(step, steps)`` tells clients how far the job is; it returns at once.

    Numbers are cut to whole ones with ``0 <= step <= steps`` and ``steps >= 1``. Raises :class:`TypeError` or
    :class:`ValueError` for what is not a finite number.
    """
    tell: Callable[[Mapping[str, Json]], None]
    """``tell(document)`` adds an event ``note`` to those of the job; it returns at once."""
    open_source: Callable[[str], BinaryIO]
    """The stored file behind a source that is not decoded; raises :class:`InputUnavailable` if it is gone."""
    settings: Settings
    """Those of the worker."""
    is_canceled: Callable[[], bool]
    """Whether the result is no longer needed; a function that takes seconds should ask this now and then."""

    def raise_if_canceled(self) -> None:
        """Raise :class:`JobCanceled` if the result is no longer needed."""
        if self.is_canceled():
            raise JobCanceled


JobFunction = Callable[[FunctionCall], JobOutput]
"""Raises a :class:`JobFailure` if the job cannot be done; the message goes to the client."""


class FunctionMissing(PhotogramError):
    """The function of a job kind cannot be imported."""


def load_functions(kinds: Collection[JobKind]) -> dict[str, JobFunction]:
    """The functions of those ``kinds`` that have one, by the name of the kind.

    Raises:
        FunctionMissing: one cannot be imported.
    """
    return {kind.name: _load(kind.name, kind.function) for kind in kinds if kind.function is not None}


def _load(kind: str, path: str) -> JobFunction:
    try:
        function: JobFunction = resolve(path)
    except Exception as error:  # the module of the function may raise anything
        raise FunctionMissing(f"the function {path!r} of job kind {kind!r} cannot be imported: {error!r}") from error
    if not callable(function):
        raise FunctionMissing(f"the function {path!r} of job kind {kind!r} is not a function")
    return function


@dataclass(frozen=True, eq=False)
class _Call:
    job: HeldJob
    is_stopped: threading.Event = field(default_factory=threading.Event)
    queued_at: float = field(default_factory=time.monotonic)


class FunctionExecutor:
    """Calls functions in a few threads of its own, in the order in which the queue gave their jobs.

    The threads are daemons: a function that ignores its cancellation does not keep the process from ending.

    Args:
        wake: called from those threads whenever :meth:`poll` has something to return.
        threads: how many functions are called at the same time.
        ahead: how many further calls may wait for a thread.
        open_source: as in :class:`FunctionCall`.
        settings: likewise.
    """

    is_idle = True

    def __init__(
        self,
        functions: Mapping[str, JobFunction],
        wake: Callable[[], None],
        threads: int = THREADS,
        *,
        ahead: int = PREFETCH,
        open_source: Callable[[str], BinaryIO] = _no_source,
        settings: Settings = _DEFAULTS,
    ) -> None:
        self._functions, self._wake = functions, wake
        self._threads, self._ahead = threads, ahead
        self._open_source, self._settings = open_source, settings
        self._inbox: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[tuple[_Call, Event]] = queue.SimpleQueue()
        self._has_woken = threading.Event()
        self._calls: dict[str, _Call] = {}
        self._running_since: dict[_Call, float] = {}
        for number in range(threads):
            threading.Thread(target=self._serve, name=f"function-{number}", daemon=True).start()

    @property
    def room(self) -> int:
        """How many more calls may begin or wait for a thread, at most :data:`PREFETCH`."""
        return min(self._threads + self._ahead - len(self._calls), PREFETCH)

    @property
    def longest_call_s(self) -> float:
        """How long the oldest running call has been running, its job canceled or not."""
        now = time.monotonic()
        return max((now - since for since in list(self._running_since.values())), default=0.0)

    def start(self, job: HeldJob) -> None:
        """Call the function of the job's kind in the next free thread; its deadline counts from the call."""
        job.stop_clock()
        call = _Call(job)
        self._calls[job.execution_id] = call
        self._inbox.put(call)

    def save(self, execution_id: str) -> bytes | None:
        """``None``: a function begins again."""
        return None

    def stop(self, execution_id: str) -> None:
        """Tell the function that its result is no longer needed, and ignore what it returns."""
        call = self._calls.pop(execution_id, None)
        if call is not None:
            call.is_stopped.set()

    def poll(self) -> list[Event]:
        """What happened since the last poll."""
        self._has_woken.clear()
        events = []
        while not self._events.empty():
            call, event = self._events.get()
            if call.is_stopped.is_set():
                continue
            if not isinstance(event, Progressed | Noted):
                del self._calls[call.job.execution_id]
            events.append(event)
        return events

    def close(self) -> None:
        """Tell all functions that their results are no longer needed."""
        for execution_id in list(self._calls):
            self.stop(execution_id)

    def _serve(self) -> None:
        while True:
            self._serve_next()

    def _serve_next(self) -> None:
        """Run one call; a function of its own, so that a thread that waits refers to no job."""
        call = self._inbox.get()
        if call.is_stopped.is_set():
            return
        call.job.restart_clock()
        self._running_since[call] = time.monotonic()
        try:
            self._emit(call, self._run(call))
        except JobCanceled:
            log.info("the function of job %s has stopped, because its result is not needed here", call.job.job_id)
        finally:
            del self._running_since[call]

    def _run(self, call: _Call) -> Event:
        job, began_at = call.job, time.monotonic()
        try:
            output = self._functions[job.kind.name](self._arguments(call))
            if not isinstance(output, JobOutput):
                raise TypeError(f"{job.kind.function} must return a JobOutput, not {type(output).__name__}")
        except JobFailure as failure:
            return Failed(job.execution_id, failure)
        except JobCanceled:
            if call.is_stopped.is_set():
                raise
            return Failed(job.execution_id, InternalFailure("the job stopped as canceled, but nobody canceled it"))
        except MemoryError:
            log.exception("job %s of kind %s ran out of memory", job.job_id, job.kind.name)
            return Failed(job.execution_id, OutOfMemory("the job does not fit into the worker's memory"))
        except BaseException:  # SystemExit and the like would end this thread
            log.exception("job %s of kind %s failed", job.job_id, job.kind.name)
            return Failed(
                job.execution_id, InternalFailure("the job failed unexpectedly; the worker's log has details")
            )
        timings = {"prepare_s": round(began_at - call.queued_at, 4), "run_s": round(time.monotonic() - began_at, 4)}
        return Finished(job.execution_id, output, timings)

    def _arguments(self, call: _Call) -> FunctionCall:
        job = call.job
        return FunctionCall(
            kind=job.kind.name,
            job_id=job.job_id,
            execution_id=job.execution_id,
            owner=job.record.owner,
            params=job.record.drawn_params,
            catalog=job.catalog,
            images=job.images,
            report=lambda step, steps: self._emit(call, _progressed(job, step, steps)),
            tell=lambda document: self._emit(call, Noted(job.execution_id, document)),
            open_source=self._open_source,
            settings=self._settings,
            is_canceled=call.is_stopped.is_set,
        )

    def _emit(self, call: _Call, event: Event) -> None:
        self._events.put((call, event))
        if not self._has_woken.is_set():  # one wake-up serves all events until the next poll
            self._has_woken.set()
            self._wake()


def _progressed(job: HeldJob, step: float, steps: float) -> Progressed:
    whole = min(max(_whole(steps), 1), STEPS_MAX)
    return Progressed(job.execution_id, min(max(_whole(step), 0), whole), whole)


def _whole(number: float) -> int:
    if isinstance(number, (str, bytes, bytearray)):  # int() would parse it
        raise TypeError(f"a step must be a number, not {number!r}")
    try:
        return int(number)
    except OverflowError as error:
        raise ValueError(f"a step must be a finite number, not {number!r}") from error
