"""What is known of the jobs of a drawing while they run, and the estimate of the time that is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from photogram import Event, Job, Loading, Noted, Previewed, Progressed, Question, Queued, QueuePlace, StatusChanged
from photogram.progress import size_text

from .markdown import in_line

QUESTION_MAX_CHARS = 1000


@dataclass(slots=True)
class JobProgress:
    """One job; `apply` takes its events."""

    status: str = "queued"
    step: int = 0
    steps: int = 0
    preview: bytes | None = field(default=None, repr=False)
    first_step_at: float | None = None
    place: QueuePlace | None = None
    """Where it is in the queue, while it waits there."""
    loading: Loading | None = None
    """What the job waits for, such as a model."""
    asked: Question | None = None
    """What an agent asks, until that is answered."""
    shown_question: str | None = None
    """The question whose image is the preview."""
    trouble: str | None = None
    """Why the server is asked again, for people; None if it answered last time."""

    def apply(self, event: Event) -> None:
        self.trouble = self.loading = self.place = None
        match event:
            case Queued(place):
                self.place = place
            case StatusChanged(job):
                self.set_job(job)
            case Loading():
                self.loading = event
            case Progressed(step, steps):
                self._advance(step, steps)
            case Previewed(_, data, _):
                self.preview = data
            case Noted({"event": "question"} as asked):
                self.asked = Question.from_payload(dict(asked))
            case Noted({"event": "input"}):
                self.asked = None

    def set_job(self, job: Job) -> None:
        self.status, self.place = job.status, job.queue if job.status == "queued" else None
        self.asked = job.waiting_for_input
        if job.progress is not None:
            self._advance(job.progress.step, job.progress.steps)

    def left_s(self) -> float | None:
        """Seconds until the last step at the speed of the steps so far; None before the second step."""
        if self.first_step_at is None or self.step < 2:
            return None
        return (time.monotonic() - self.first_step_at) / (self.step - 1) * (self.steps - self.step)

    def _advance(self, step: int, steps: int) -> None:
        if step and self.first_step_at is None:
            self.first_step_at = time.monotonic()
        self.step, self.steps = step, steps


def summary(jobs: Sequence[JobProgress]) -> str:
    """One line about all jobs of a drawing, such as `▰▰▰▱▱▱▱▱▱▱ 30 % · about 4 s left`."""
    trouble = next((job.trouble for job in jobs if job.trouble is not None), None)
    if trouble is not None:
        return trouble
    asked = next((job.asked for job in jobs if job.asked is not None), None)
    if asked is not None:
        return in_line(asked.question, QUESTION_MAX_CHARS)
    if any(job.step for job in jobs):
        return _bar(jobs)
    loading = next((job.loading for job in jobs if job.loading is not None), None)
    if loading is not None:
        return _loading(loading)
    return "Starting" if any(job.status == "running" for job in jobs) else _waiting(jobs)


def _waiting(jobs: Sequence[JobProgress]) -> str:
    """The place of the job that is taken first, and the end of the one that ends last."""
    places = [job.place for job in jobs if job.place is not None]
    line = "Waiting in the queue"
    if not places:
        return line
    if ahead := min(place.ahead for place in places):
        line += f" · {ahead} {'job' if ahead == 1 else 'jobs'} ahead"
    ends_s = [place.eta_s for place in places if place.eta_s is not None]
    return f"{line} · about {_duration(max(ends_s))} left" if ends_s else line


def _bar(jobs: Sequence[JobProgress]) -> str:
    share = sum(job.step for job in jobs) / max(1, sum(job.steps for job in jobs))
    filled = int(share * 10)
    line = "▰" * filled + "▱" * (10 - filled) + f" {share:.0%}"
    left = [seconds for job in jobs if (seconds := job.left_s()) is not None]
    return f"{line} · about {_duration(max(left))} left" if left and share < 1 else line


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{round(seconds / 60)} min"


def _loading(loading: Loading) -> str:
    line = f"Loading {in_line(loading.name, 100)}"
    if not loading.total_bytes or loading.done_bytes is None:
        return line
    return f"{line} · {loading.done_bytes / loading.total_bytes:.0%} of {size_text(loading.total_bytes)}"
