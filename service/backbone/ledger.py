"""The ledger as the worker writes it: taking a job, reporting progress, finishing; every write fenced by execution."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from redis import Redis

from models.errors import JobFailure
from models.jobs.records import JobRecord, JobStatus
from models.jobs.results import Image
from models.jobs.rewrite import Rewrite
from service.backbone import scripts
from service.backbone.records import (
    MODEL_BACKENDS_KEY,
    MODEL_PROBLEMS_KEY,
    WORKERS_KEY,
    events_key,
    read_hash,
    record_key,
)

CRASH_LIMIT = 3
CRASH_MESSAGE = f"this job ended its worker {CRASH_LIMIT} times and is not tried again"

FORGOTTEN_AFTER_S = 3600.0
"""A worker that ended without a word is taken off the list after so long."""

Verdict = Literal["go", "cancel", "over"]


class Ledger:
    """The job records, for one worker process; safe to use from several threads."""

    def __init__(self, connection: Redis, record_ttl_s: int) -> None:
        self.connection = connection
        self._ttl_s = record_ttl_s
        self._start = connection.register_script(scripts.START)
        self._progress = connection.register_script(scripts.PROGRESS)
        self._rewritten = connection.register_script(scripts.REWRITTEN)
        self._finish = connection.register_script(scripts.FINISH)
        self._hand_back = connection.register_script(scripts.HAND_BACK)

    def read(self, job_id: str) -> JobRecord | None:
        """The job's record, or ``None`` if there is none."""
        fields: Any = self.connection.hgetall(record_key(job_id))
        return read_hash(fields) if fields else None

    def start(self, job_id: str, execution_id: str) -> int | None:
        """Take the job for ``execution_id``: how often it ended a worker so far, or ``None`` if it is over."""
        answer, crashes = self._run(self._start, job_id, execution_id, CRASH_LIMIT, CRASH_MESSAGE)
        return int(crashes) if answer == b"started" else None

    def progress(
        self,
        job_id: str,
        execution_id: str,
        step: int,
        steps: int,
        *,
        preview: str | None = None,
        loading: str | None = None,
    ) -> Verdict:
        """Report ``step`` of ``steps``; says whether to go on.

        Args:
            preview: a look at the image, as a data URL.
            loading: what the job waits for, in words.
        """
        data: dict[str, object]
        if loading is not None:
            kind, data = "loading", {"name": loading}
        elif preview is not None:
            kind, data = "preview", {"step": step, "image": preview}
        else:
            kind, data = "progress", {"step": step, "steps": steps}
        answer = self._run(self._progress, job_id, execution_id, step, steps, kind, json.dumps(data), loading or "")
        verdict: Verdict = answer.decode()
        return verdict

    def note_rewrite(self, job_id: str, execution_id: str, rewrite: Rewrite) -> bool:
        """Remember what became of the job's prompt; ``False`` if it was no longer this execution's."""
        return bool(self._run(self._rewritten, job_id, execution_id, json.dumps(rewrite.to_payload())))

    def succeed(self, job_id: str, execution_id: str, images: Sequence[Image], timings: dict[str, float]) -> bool:
        """Finish the job with its images; ``False`` if it was no longer this execution's."""
        drawn = json.dumps([asdict(image) for image in images])
        return self._conclude(job_id, execution_id, JobStatus.SUCCEEDED, images=drawn, timings=json.dumps(timings))

    def fail(self, job_id: str, execution_id: str, failure: JobFailure) -> bool:
        """Finish the job with the reason why it failed; ``False`` if it was no longer this execution's."""
        return self._conclude(
            job_id, execution_id, JobStatus.FAILED, error_code=failure.code, error_message=str(failure)
        )

    def cancel(self, job_id: str, execution_id: str) -> bool:
        """Finish the job as canceled; ``False`` if it was no longer this execution's."""
        return self._conclude(job_id, execution_id, JobStatus.CANCELED)

    def hand_back(self, job_id: str, execution_id: str) -> bool:
        """Return the job to the queued state; ``False`` if it was no longer this execution's."""
        return bool(self._run(self._hand_back, job_id, execution_id))

    def _conclude(self, job_id: str, execution_id: str, status: JobStatus, **fields: str) -> bool:
        pairs = [part for pair in fields.items() for part in pair]
        return bool(self._run(self._finish, job_id, execution_id, status, *pairs))

    def _run(self, script: Any, job_id: str, *arguments: object) -> Any:
        keys = [record_key(job_id), events_key(job_id)]
        return script(keys=keys, args=[repr(time.time()), self._ttl_s, *arguments])

    def beat(self, worker_name: str) -> None:
        """A sign of life of a worker that could take a job; workers long gone are forgotten."""
        now = time.time()
        self.connection.zadd(WORKERS_KEY, {worker_name: now})
        self.connection.zremrangebyscore(WORKERS_KEY, "-inf", now - FORGOTTEN_AFTER_S)

    def sign_off(self, worker_name: str) -> None:
        """The worker takes no more jobs."""
        self.connection.zrem(WORKERS_KEY, worker_name)

    def note_model_problem(self, model: str, problem: str | None) -> None:
        """Remember why ``model`` could not be loaded, or forget it."""
        if problem is None:
            self.connection.hdel(MODEL_PROBLEMS_KEY, model)
        else:
            self.connection.hset(MODEL_PROBLEMS_KEY, model, problem)

    def note_model_backend(self, model: str, backend: str, relative_error: float | None) -> None:
        """Remember what computes ``model``, and how far its outputs are from torch's, relative to their size."""
        note = json.dumps({"backend": backend, "relative_error": relative_error})
        self.connection.hset(MODEL_BACKENDS_KEY, model, note)
