"""The rows of one job in the engine: one for each candidate of its image; their events become those of the job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL.Image import Image

from models.diffusion import events
from models.diffusion.snapshots import RowState, read_rows, save_rows
from models.diffusion.work import Result, Task
from models.jobs.params import DrawParams
from models.jobs.records import JobRecord
from models.jobs.results import JobOutput
from models.jobs.safety import BLUR, REFUSE
from models.jobs.seeds import candidate_seeds
from workers.executors import Event, Failed, Finished, Loading, Progressed
from workers.held_jobs import HeldJob


@dataclass(frozen=True)
class NewRow:
    """A row to add to the engine."""

    row_id: str
    task: Task
    is_watched: Callable[[], bool]
    """Whether somebody wants previews of it now."""
    snapshot: bytes | None


class Candidates:
    """One job in the engine; it needs no engine itself. For the loop's thread.

    Each row draws what a job with the seed of its candidate alone would draw. The first candidate has the id of the
    execution as its row's id, and is the only one with previews.
    """

    def __init__(self, job: HeldJob) -> None:
        self.execution_id = job.execution_id
        self._job, self._records = job, _records(job.record)
        self.row_ids = [job.execution_id, *(f"{job.execution_id}.{index}" for index in range(1, len(self._records)))]
        self._kept = self._taken_over(job.snapshot)
        job.snapshot = None
        self._results: dict[str, Result] = {
            row_id: kept for row_id, kept in zip(self.row_ids, self._kept, strict=True) if isinstance(kept, Image)
        }
        self._steps: dict[str, int] = {}
        """The steps that each row has taken, of those that took any here."""
        self._prepare_s, self._began_at, self._denoised_at = 0.0, float("inf"), 0.0

    def _taken_over(self, snapshot: bytes | None) -> list[RowState]:
        """What an earlier execution had drawn of each candidate."""
        if len(self._records) == 1:
            return [snapshot]
        return [None] * len(self._records) if snapshot is None else read_rows(snapshot, len(self._records))

    def new_rows(self) -> Iterator[NewRow]:
        """The rows of all candidates that are not drawn yet."""
        shows_previews = self._job.record.safety_policy not in (BLUR, REFUSE)  # nobody has looked at previews
        job = self._job
        for row_id, record, kept in zip(self.row_ids, self._records, self._kept, strict=True):
            is_watched = (lambda: job.is_watched) if shows_previews and row_id == job.execution_id else (lambda: False)
            if not isinstance(kept, Image):
                task = Task(kind=record.kind, params=record.drawn_params, catalog=job.catalog, images=job.images)
                yield NewRow(row_id, task, is_watched, kept)
        self._kept = []

    def save(self, save_row: Callable[[str], bytes | None]) -> bytes | None:
        """What is drawn of all candidates; ``save_row`` gives the snapshot of one row."""
        if len(self.row_ids) == 1:
            return save_row(self.execution_id)
        return save_rows([self._state(row_id, save_row) for row_id in self.row_ids])

    def _state(self, row_id: str, save_row: Callable[[str], bytes | None]) -> RowState:
        result = self._results.get(row_id)
        return result if isinstance(result, Image) else save_row(row_id)

    def joined(self, event: events.Event) -> Event | None:
        """``event`` of one of the rows as an event of the job; ``None`` if it changes nothing of that."""
        match event:
            case events.Loading():
                return self._loading(event)
            case events.Progressed():
                return self._progressed(event)
            case events.Finished():
                return self._finished(event)
            case events.Failed():
                return Failed(self.execution_id, event.failure)

    def _loading(self, event: events.Loading) -> Loading | None:
        """What the job waits for, unless another candidate is being drawn already."""
        if self._steps or self._results:
            return None
        return Loading(self.execution_id, event.name, event.done_bytes, event.total_bytes)

    def _progressed(self, event: events.Progressed) -> Progressed:
        """The steps of all candidates, of which each takes as many as this one."""
        self._steps[event.row_id] = event.step
        done = [event.steps if row_id in self._results else self._steps.get(row_id, 0) for row_id in self.row_ids]
        return Progressed(self.execution_id, sum(done), event.steps * len(done), event.preview)

    def _finished(self, event: events.Finished) -> Finished | None:
        self._results[event.row_id] = event.result
        self._note_times(event)
        if len(self._results) < len(self.row_ids):
            return None
        timings = {
            "prepare_s": self._prepare_s,
            "denoise_s": self._denoised_at - self._began_at,
            "finish_s": event.finish_s,
        }
        return Finished(self.execution_id, self._output(), timings, event.backends)

    def _note_times(self, event: events.Finished) -> None:
        """The job is denoised from the first step of any candidate to the last step of any."""
        denoised_at = time.monotonic() - event.finish_s
        self._prepare_s = self._prepare_s or event.prepare_s
        self._began_at = min(self._began_at, denoised_at - event.denoise_s)
        self._denoised_at = max(self._denoised_at, denoised_at)

    def _output(self) -> JobOutput:
        results = [self._results[row_id] for row_id in self.row_ids]
        if isinstance(results[0], JobOutput):
            return results[0]
        return JobOutput(images=tuple(result for result in results if isinstance(result, Image)))


def _records(record: JobRecord) -> list[JobRecord]:
    """The record of the job that would draw each candidate alone."""
    params = record.params
    if not isinstance(params, DrawParams):
        return [record]
    return [record.of_candidate(seed) for seed in candidate_seeds(params)]
