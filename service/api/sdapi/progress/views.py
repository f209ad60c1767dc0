"""Running calls of an API key as A1111 shows their progress."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

from models.jobs.records import JobRecord, JobStatus
from service.api.sdapi.progress.schemas import SdProgressView, StateView, TaskView
from service.api.state import Gateway
from service.backbone.callers import Call
from service.jobs.caller import Caller

_STARTED = 0.01
"""The progress of a call without a finished step; A1111 shows 0 only if no call is running."""


@dataclass(frozen=True)
class RunningCall:
    """A call and its jobs, of which at least one has not finished."""

    call_state: Call
    records: list[JobRecord]

    @property
    def current(self) -> JobRecord:
        """The first job that runs, or else the first that is queued."""
        unfinished = [record for record in self.records if not record.status.is_terminal]
        return next((record for record in unfinished if record.status is JobStatus.RUNNING), unfinished[0])

    @property
    def loading(self) -> str | None:
        """What the current job waits for."""
        loading = self.current.loading
        return None if loading is None else loading.name

    @property
    def progress(self) -> float:
        """0 to 1."""
        count = len(self.call_state.job_ids)
        gone = count - len(self.records)  # records of jobs that finished so long ago that they have expired
        return min(_STARTED + (gone + sum(map(_share, self.records))) / count, 1.0)

    @property
    def remaining_s(self) -> float:
        """The estimated time until the end, if the speed stays the same."""
        elapsed_s = time.time() - self.call_state.started_at
        return elapsed_s / self.progress - elapsed_s


def _share(record: JobRecord) -> float:
    return 1.0 if record.status.is_terminal else min(record.step / max(record.steps, 1), 1.0)


async def running_calls(gateway: Gateway, caller: Caller) -> list[RunningCall]:
    """The running calls of the API key, the oldest first.

    Calls whose gateway died and whose jobs have all finished are left out.
    """
    found = []
    for call_state in await gateway.callers.calls(caller.key_id):
        read = await asyncio.gather(*(gateway.watcher.read(job_id) for job_id in call_state.job_ids))
        records = [record for record in read if record is not None]
        if not all(record.status.is_terminal for record in records):
            found.append(RunningCall(call_state, records))
    return found


def progress_view(running: RunningCall, preview: str | None) -> SdProgressView:
    """The progress of a call; ``preview`` is a ``data:`` URL."""
    return SdProgressView(
        progress=running.progress,
        eta_relative=running.remaining_s,
        state=_state_view(running),
        current_image=None if preview is None else preview.partition(",")[2],
        textinfo=running.loading,
        current_task=running.call_state.task_id,
    )


def _state_view(running: RunningCall) -> StateView:
    call_state, records, current = running.call_state, running.records, running.current
    return StateView(
        interrupted=any(record.is_cancel_requested for record in records),
        job=f"scripts_{call_state.name}",
        job_count=len(records),
        job_timestamp=datetime.fromtimestamp(call_state.started_at).strftime("%Y%m%d%H%M%S"),
        job_no=sum(record.status.is_terminal for record in records),
        sampling_step=current.step,
        sampling_steps=current.steps,
    )


def task_view(running: RunningCall, preview: str | None, preview_id: int) -> TaskView:
    """The progress of a call; ``preview`` is a ``data:`` URL."""
    is_queued = running.current.status is JobStatus.QUEUED
    return TaskView(
        active=not is_queued,
        queued=is_queued,
        progress=running.progress,
        eta=running.remaining_s,
        live_preview=preview,
        id_live_preview=preview_id,
        textinfo=running.loading,
    )
