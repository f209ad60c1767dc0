"""How long jobs take: the worker's time that each of them uses, for estimates of when others will end."""

from __future__ import annotations

import time
from dataclasses import dataclass

from models.jobs.records import JobRecord
from service.backbone.places import JobTime, pace_field

SHARED = 1.5
"""So many jobs run on average while one does that counts as shared."""


@dataclass(frozen=True)
class Used:
    """The time of a worker that a job used."""

    seconds: float
    """Its share."""
    elapsed_s: float
    """From its begin to its end."""

    @property
    def is_shared(self) -> bool:
        """Whether others ran beside it for most of the time."""
        return self.elapsed_s > SHARED * self.seconds


@dataclass(frozen=True)
class _Begin:
    share_s: float
    at: float
    rows: int


class Pace:
    """Shares the time of one worker between the jobs that it runs at each moment, in proportion to their rows.

    For the loop's thread.
    """

    def __init__(self) -> None:
        self._began: dict[str, _Begin] = {}
        self._share_s = 0.0
        """The seconds that a job of one row would have used that runs since the start."""
        self._rows = 0
        self._changed_at = time.monotonic()

    def begin(self, execution_id: str, rows: int = 1) -> None:
        """Count the job, which draws so many candidates, as running."""
        self._pass_time()
        self._began[execution_id] = _Begin(self._share_s, self._changed_at, rows)
        self._rows += rows

    def end(self, execution_id: str) -> Used | None:
        """The time that the job used; ``None`` if it did not run."""
        self._pass_time()
        began = self._began.pop(execution_id, None)
        if began is None:
            return None
        self._rows -= began.rows
        return Used((self._share_s - began.share_s) * began.rows, self._changed_at - began.at)

    def _pass_time(self) -> None:
        now = time.monotonic()
        if self._rows:
            self._share_s += (now - self._changed_at) / self._rows
        self._changed_at = now


def job_time(record: JobRecord, used: Used) -> JobTime | None:
    """What the job tells of the time of others; ``None`` if its work is not known without its images."""
    params = record.params
    step_px = params.cost({}).step_px
    if not step_px:
        return None
    is_shared = used.is_shared or params.best_of > 1  # candidates share their forwards
    return JobTime(params.model_name, pace_field(params), step_px, used.seconds, is_shared)
