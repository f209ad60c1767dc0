"""Displays of a job's progress, to pass as `on_event`: a bar of rich or tqdm, or lines for logs.

    from photogram import progress

    with progress.Bar() as bar:
        client.generate("a cat", on_event=bar)

They show the place in the queue and when the job probably ends, what is loaded or downloaded, and the steps.
"""

import sys
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ._events import Event, Loading, Progressed, Queued, Rewritten, StatusChanged
from ._models import QueuePlace


class Display(Protocol):
    """A context manager that shows the events it is called with."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def __call__(self, event: Event) -> None: ...


class Bar:
    """A bar of rich, by default on standard error; it is removed in the end."""

    def __init__(self, console: Console | None = None) -> None:
        columns = (
            TextColumn("{task.description:<8}"), BarColumn(), _StepsColumn(), TimeElapsedColumn(), TimeRemainingColumn()
        )  # fmt: skip
        self._progress = Progress(*columns, console=console or Console(stderr=True), transient=True)
        self._task = self._progress.add_task("sending", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case StatusChanged(job):
                self._progress.update(self._task, description=job.status)
            case Queued(place):
                self._progress.update(self._task, description=place_text(place))
            case Loading():
                self._progress.update(
                    self._task,
                    description=loading_text(event),
                    completed=event.done_bytes or 0,
                    total=event.total_bytes,
                    is_download=event.done_bytes is not None,
                )
            case Progressed(step, steps):
                self._progress.update(self._task, description="running", completed=step, total=steps, is_download=False)


class Tqdm:
    """A bar of tqdm, which must be installed; raises ImportError. `options` are those of `tqdm`."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        from tqdm.auto import tqdm

        self._bar = tqdm(**{"desc": "sending", "unit": "step", "total": None, **options})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()

    def __call__(self, event: Event) -> None:
        match event:
            case StatusChanged(job):
                self._bar.set_description(job.status)
            case Queued(place):
                self._bar.set_description(place_text(place))
            case Loading():
                self._bar.set_description(loading_text(event))
            case Progressed(step, steps):
                self._bar.set_description("running", refresh=False)
                self._bar.total = steps
                self._bar.update(step - self._bar.n)


class Lines:
    """A line for each status, for each place in the queue and each tenth of the steps, for logs and pipes."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stderr
        self._shown = ""
        self._tenth = 0
        self._loaded_tenth = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: Event) -> None:
        match event:
            case StatusChanged(job) if job.status != self._shown:
                self._shown, self._tenth = job.status, 0
                self._line(job.status)
            case Queued(place):
                self._line(place_text(place))
            case Loading() if (tenth := _tenth_of(event)) > self._loaded_tenth:
                self._loaded_tenth = tenth
                self._line(loading_text(event))
            case Progressed(step, steps) if step * 10 // max(steps, 1) > self._tenth:
                self._tenth = step * 10 // max(steps, 1)
                self._line(f"step {step}/{steps}")
            case Rewritten(rewrite):
                self._line(f"rewrite {rewrite.status}")

    def _line(self, text: str) -> None:
        print(text, file=self._file, flush=True)


def display_for(console: Console) -> Display:
    """A bar on a terminal, else lines."""
    return Bar(console) if console.is_terminal else Lines(console.file)  # type: ignore[arg-type]


def place_text(place: QueuePlace) -> str:
    """As in `queued, 3 ahead, done in 12 s`."""
    eta = "" if place.eta_s is None else f", done in {place.eta_s:.0f} s"
    return f"queued, {place.ahead} ahead{eta}" if place.ahead else f"queued, next{eta}"


def loading_text(loading: Loading) -> str:
    """As in `downloading model sdxl: 1.20 GB of 6.94 GB`."""
    if loading.done_bytes is None:
        return f"loading {loading.name}"
    total = "" if loading.total_bytes is None else f" of {size_text(loading.total_bytes)}"
    return f"downloading {loading.name}: {size_text(loading.done_bytes)}{total}"


def size_text(size_bytes: int) -> str:
    """A number of bytes for people, as in `6.94 GB`; decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.2f} {unit}"
    return f"{size_bytes} B"


def _tenth_of(loading: Loading) -> int:
    """How many tenths are downloaded; 0 if that is unknown, and 10 if nothing is left to download."""
    if loading.done_bytes is None:
        return 10
    return loading.done_bytes * 10 // loading.total_bytes if loading.total_bytes else 0


class _StepsColumn(MofNCompleteColumn):
    """Steps done and in all; nothing while a model is downloaded, whose bytes the description tells."""

    def render(self, task: Task) -> Text:
        return Text() if task.fields.get("is_download") else super().render(task)
