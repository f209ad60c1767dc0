"""What the command line shows: progress on stderr while a job runs, plain lines about jobs on stdout."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ._events import Event, Progressed, StatusChanged
from ._models import GeneratedImage, Job, Timings

_LABEL_WIDTH = 9


class Display(Protocol):
    """Shows the events of one job while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, event: Event) -> None: ...


class BarDisplay:
    """A progress bar that is gone when the job is over."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("sending", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        match event:
            case StatusChanged(job):
                self._progress.update(self._task, description=job.status)
            case Progressed(step, steps):
                self._progress.update(self._task, completed=step, total=steps)


class LineDisplay:
    """A line for each status and for each tenth of the steps, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = ""
        self._tenth = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def show(self, event: Event) -> None:
        match event:
            case StatusChanged(job) if job.status != self._shown:
                self._shown = job.status
                self._line(job.status)
            case Progressed(step, steps) if step * 10 // max(steps, 1) > self._tenth:
                self._tenth = step * 10 // max(steps, 1)
                self._line(f"step {step}/{steps}")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def display_for(console: Console) -> Display:
    """A bar on a terminal, lines elsewhere."""
    return BarDisplay(console) if console.is_terminal else LineDisplay(console)


def picture_lines(image: GeneratedImage, path: Path, total_s: float) -> list[str]:
    """What `photogram generate` prints: one line each."""
    params = image.job.params
    return [
        _line("file", path),
        _line("seed", image.seed),
        _line("model", params.get("model")),
        _line("sampler", params.get("sampler")),
        _line("steps", params.get("num_inference_steps")),
        _line("size", f"{image.width}x{image.height}"),
        _line("timings", _timings_text(_seconds_of(image.job, total_s))),
    ]


def picture_json(image: GeneratedImage, path: Path, total_s: float) -> str:
    """The same for programs: the file, the seconds and the whole job."""
    document = {"file": str(path), "timings": _seconds_of(image.job, total_s), "job": asdict(image.job)}
    return to_json(document)


def job_lines(job: Job) -> list[str]:
    """What `photogram jobs` prints: a line for everything that is known."""
    known: dict[str, object] = {
        "id": job.id,
        "kind": job.kind,
        "status": job.status,
        "progress": f"{job.progress.step}/{job.progress.steps}" if job.progress else None,
        "prompt": job.params.get("prompt"),
        "model": job.params.get("model"),
        "seed": job.params.get("seed"),
        "error": f"{job.error.message} ({job.error.code})" if job.error else None,
        "created": _time_text(job.created_at),
        "started": _time_text(job.started_at),
        "finished": _time_text(job.finished_at),
    }
    images = [_line("image", image.url) for image in (job.result.images if job.result else ())]
    return [_line(label, value) for label, value in known.items() if value is not None] + images


def to_json(document: object) -> str:
    """Indented JSON; moments as ISO 8601."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=_time_text)


def _line(label: str, value: object) -> str:
    return f"{label:<{_LABEL_WIDTH}}{'-' if value is None else value}"


def _seconds_of(job: Job, total_s: float) -> dict[str, float | None]:
    timings = job.result.timings if job.result else Timings()
    return {
        "queued_s": job.queued_s,
        "prepare_s": timings.prepare_s,
        "denoise_s": timings.denoise_s,
        "finish_s": timings.finish_s,
        "total_s": round(total_s, 3),
    }


def _timings_text(seconds: dict[str, float | None]) -> str:
    return ", ".join(f"{name[:-2]} {value:.2f} s" for name, value in seconds.items() if value is not None)


def _time_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
