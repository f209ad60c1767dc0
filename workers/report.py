"""Reports of progress: a thread that writes the latest step of each job, so that the loop never waits for Redis."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from redis.exceptions import RedisError

from models.jobs.records import LoadingNow
from models.jobs.results import Json
from service.backbone.ledger import Ledger
from workers.held_jobs import HeldJob, HeldJobs

log = logging.getLogger(__name__)

_PAUSE_S = 0.05
_REDIS_PAUSE_S = 1.0
PREVIEW_MAX_PX = 256


@dataclass(frozen=True)
class _Latest:
    job: HeldJob
    step: int
    steps: int
    preview: Image.Image | None
    loading: LoadingNow | None = None
    """What the job waits for, before its first step."""


class Report(threading.Thread):
    """Accepts reports at any rate, and writes the latest one of each job at most twenty times a second."""

    def __init__(self, ledger: Ledger, held: HeldJobs) -> None:
        super().__init__(name="report", daemon=True)
        self._ledger, self._held = ledger, held
        self._latest: dict[str, _Latest] = {}
        self._snapshots: dict[str, tuple[HeldJob, bytes]] = {}
        self._documents: list[tuple[HeldJob, Mapping[str, Json]]] = []
        self._lock = threading.Lock()
        self._has_news = threading.Event()

    def note(self, job: HeldJob, step: int, steps: int, preview: Image.Image | None) -> None:
        """Report a step of the job; returns at once."""
        with self._lock:
            earlier = self._latest.get(job.execution_id)
            kept = preview or (earlier.preview if earlier else None)
            # A plan or a function may count with NumPy integers, which JSON does not have.
            self._latest[job.execution_id] = _Latest(job, int(step), int(steps), kept)
        self._has_news.set()

    def note_document(self, job: HeldJob, document: Mapping[str, Json]) -> None:
        """Report what the job tells of itself, each document as an event; returns at once."""
        with self._lock:
            self._documents.append((job, document))
        self._has_news.set()

    def note_loading(self, job: HeldJob, loading: LoadingNow) -> None:
        """Report what the job waits for; returns at once."""
        with self._lock:
            self._latest[job.execution_id] = _Latest(job, 0, job.record.steps, None, loading)
        self._has_news.set()

    def note_snapshot(self, job: HeldJob, snapshot: bytes | None) -> None:
        """Keep what is drawn of the job, if there is something; returns at once."""
        if snapshot is not None:
            with self._lock:
                self._snapshots[job.execution_id] = (job, snapshot)
            self._has_news.set()

    def run(self) -> None:
        """Write reports for as long as the process lives."""
        while True:
            self._has_news.wait()
            self._has_news.clear()
            with self._lock:
                batch, self._latest = self._latest, {}
                snapshots, self._snapshots = self._snapshots, {}
                documents, self._documents = self._documents, []
            self._tell_all(documents)
            self._write_all(list(batch.values()))
            self._keep_all(list(snapshots.values()))
            time.sleep(_PAUSE_S)

    def _tell_all(self, documents: Sequence[tuple[HeldJob, Mapping[str, Json]]]) -> None:
        """Write what jobs tell of themselves; an event that cannot be written is left out."""
        for job, document in documents:
            try:
                self._ledger.note(job.job_id, job.execution_id, document)
            except RedisError as error:
                log.warning("an event of job %s was not written: %s", job.job_id, error)

    def _write_all(self, batch: Sequence[_Latest]) -> None:
        """Write all reports; one that fails does not end the thread, nor keep the others from being written."""
        for latest in batch:
            try:
                self._write(latest)
            except RedisError as error:
                log.warning("the progress of up to %d jobs was not written: %s", len(batch), error)
                time.sleep(_REDIS_PAUSE_S)
                return
            except Exception:
                log.exception("the progress of job %s was not written", latest.job.job_id)

    def _keep_all(self, snapshots: Sequence[tuple[HeldJob, bytes]]) -> None:
        """Keep the snapshots; without one a job begins again, which is no reason to trouble it now."""
        for job, snapshot in snapshots:
            try:
                self._ledger.keep_snapshot(job.job_id, job.execution_id, snapshot)
            except RedisError as error:
                log.warning("what is drawn of job %s was not kept: %s", job.job_id, error)

    def _write(self, latest: _Latest) -> None:
        """Write one report; the answer says whether the job was canceled or given to another worker, or is watched."""
        job, preview = latest.job, latest.preview
        url = None if preview is None else _data_url(preview)
        verdict = self._ledger.progress(
            job.job_id, job.execution_id, latest.step, latest.steps, preview=url, loading=latest.loading
        )
        job.is_watched = verdict == "watched"
        if verdict in ("cancel", "over"):
            self._held.request_cancel(job.execution_id)


def _data_url(preview: Image.Image) -> str:
    small = preview.copy()
    small.thumbnail((PREVIEW_MAX_PX, PREVIEW_MAX_PX))
    buffer = BytesIO()
    small.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
