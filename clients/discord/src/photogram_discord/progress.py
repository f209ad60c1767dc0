"""What is known of the jobs of a drawing while they run, and the estimate of the time that is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from photogram import Event, Job, Previewed, Progressed, StatusChanged


@dataclass(slots=True)
class JobProgress:
    """One job; `apply` takes its events."""

    status: str = "queued"
    step: int = 0
    steps: int = 0
    preview: bytes | None = field(default=None, repr=False)
    first_step_at: float | None = None
    is_unreachable: bool = False
    """Whether the server did not answer last time."""

    def apply(self, event: Event) -> None:
        self.is_unreachable = False
        match event:
            case StatusChanged(job):
                self.set_job(job)
            case Progressed(step, steps):
                self._advance(step, steps)
            case Previewed(_, data, _):
                self.preview = data

    def set_job(self, job: Job) -> None:
        self.status = job.status
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
    if any(job.is_unreachable for job in jobs):
        return "The image server does not answer. I keep trying."
    steps = sum(job.steps for job in jobs)
    if not steps:
        return "Waiting in the queue"
    share = sum(job.step for job in jobs) / steps
    filled = int(share * 10)
    line = "▰" * filled + "▱" * (10 - filled) + f" {share:.0%}"
    left = [seconds for job in jobs if (seconds := job.left_s()) is not None]
    return f"{line} · about {max(1, round(max(left)))} s left" if left and share < 1 else line
