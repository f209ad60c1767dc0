"""How long jobs take: the worker's time that each of them uses, for estimates of when others will end."""

from __future__ import annotations

import time

from models.jobs.records import JobRecord
from service.backbone.places import JobTime, pace_field


class Pace:
    """Shares the time of one worker equally between the jobs that it runs at each moment; for the loop's thread."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._share_s = 0.0
        """The seconds that a job would have used that runs since the start."""
        self._changed_at = time.monotonic()

    def begin(self, execution_id: str) -> None:
        """Count the job as running."""
        self._pass_time()
        self._began[execution_id] = self._share_s

    def end(self, execution_id: str) -> float | None:
        """The seconds that the job used; ``None`` if it did not run."""
        self._pass_time()
        began = self._began.pop(execution_id, None)
        return None if began is None else self._share_s - began

    def _pass_time(self) -> None:
        now = time.monotonic()
        if self._began:
            self._share_s += (now - self._changed_at) / len(self._began)
        self._changed_at = now


def job_time(record: JobRecord, seconds: float) -> JobTime | None:
    """What the job tells of the time of others; ``None`` if its work is not known without its images."""
    params = record.params
    step_px = params.cost({}).step_px
    return JobTime(params.model_name, pace_field(params), step_px, seconds) if step_px else None
