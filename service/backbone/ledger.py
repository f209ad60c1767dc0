"""The ledger as workers write it: every write is one Lua script, fenced by the execution id."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from redis import Redis
from redis.exceptions import RedisError

from models.errors import JobFailure
from models.jobs.kinds import DIFFUSION_QUEUE
from models.jobs.records import JobRecord, JobStatus, LoadingNow
from models.jobs.results import Image, Json, StoredFile
from models.jobs.rewrite import Rewrite
from models.jobs.safety import SafetyResult
from service.backbone import scripts, trail
from service.backbone.keyspace import (
    MODEL_BACKENDS_KEY,
    MODEL_PROBLEMS_KEY,
    events_key,
    record_key,
    snapshot_key,
    watched_key,
    workers_key,
)
from service.backbone.records import document_text, files_text, read_hash, result_fields

CRASH_LIMIT = 3
MESSAGE_MAX_CHARS = 2000
"""The longest message of a failure in a record; the rest is cut off."""
CRASH_MESSAGE = f"the worker process died {CRASH_LIMIT} times while it ran this job, which is not tried again"

FORGOTTEN_AFTER_S = 3600.0
"""A worker that sent no heartbeat for so long is removed from the list of workers."""

Verdict = Literal["go", "watched", "cancel", "over"]
"""What a worker does after a report: go on, go on and make previews, end the job, or drop it."""


class Ledger:
    """The job records, for one worker process; safe to use from several threads.

    A method that takes an execution id returns ``False`` (or ``over``) and changes nothing if the job has ended or
    belongs to another execution by now.
    """

    def __init__(self, connection: Redis, record_ttl_s: int) -> None:
        self.connection = connection
        self.record_ttl_s = record_ttl_s
        self._start = connection.register_script(scripts.start())
        self._progress = connection.register_script(scripts.progress())
        self._rewrite = connection.register_script(scripts.rewrite())
        self._snapshot = connection.register_script(scripts.snapshot())
        self._finish = connection.register_script(scripts.finish())
        self._requeue = connection.register_script(scripts.requeue())
        self._retry = connection.register_script(scripts.retry())

    def read(self, job_id: str) -> JobRecord | None:
        """The job's record, or ``None`` if there is none; raises :class:`UnknownKind` or :class:`UnreadableRecord`."""
        fields: Any = self.connection.hgetall(record_key(job_id))
        return read_hash(fields) if fields else None

    def start(self, job_id: str, execution_id: str) -> int | None:
        """Start the job as ``execution_id``; returns how many crashes it had so far, or ``None`` if it has ended."""
        answer, crashes = self._run(self._start, job_id, execution_id, CRASH_LIMIT, CRASH_MESSAGE)
        if answer == b"ended":
            self._note_end(job_id)
        return int(crashes) if answer == b"started" else None

    def progress(
        self,
        job_id: str,
        execution_id: str,
        step: int,
        steps: int,
        *,
        preview: str | None = None,
        loading: LoadingNow | None = None,
    ) -> Verdict:
        """Report ``step`` of ``steps``; returns whether to continue, and whether a client watches the previews.

        A share that is below the one that the record has is not shown: the job began again, or has more steps than
        were known. A report of loading changes no step.

        Args:
            preview: a preview of the image, as a data URL.
            loading: what the job waits for.
        """
        data: dict[str, object]
        if loading is not None:
            kind, data = "loading", loading.to_payload()
        elif preview is not None:
            kind, data = "preview", {"step": step, "image": preview}
        else:
            kind, data = "progress", {"step": step, "steps": steps}
        text = json.dumps(data)
        noted = "" if loading is None else text
        answer = self._run(self._progress, job_id, execution_id, step, steps, kind, text, noted)
        verdict: Verdict = answer.decode()
        return verdict

    def note(self, job_id: str, execution_id: str, document: Mapping[str, Json]) -> Verdict:
        """Keep what the job tells of itself, and add it as an event ``note``; returns as :meth:`progress`."""
        answer = self._run(self._progress, job_id, execution_id, 0, 1, "note", json.dumps(document), "")
        verdict: Verdict = answer.decode()
        return verdict

    def note_rewrite(self, job_id: str, execution_id: str, rewrite: Rewrite) -> bool:
        """Write what became of the job's prompt."""
        return bool(self._run(self._rewrite, job_id, execution_id, json.dumps(rewrite.to_payload())))

    def keep_snapshot(self, job_id: str, execution_id: str, snapshot: bytes) -> bool:
        """Keep what is drawn of the job until its end, for at most a day; it replaces an earlier snapshot."""
        return bool(self._run(self._snapshot, job_id, execution_id, snapshot))

    def snapshot(self, job_id: str) -> bytes | None:
        """What an earlier execution had drawn of the job; ``None`` if nothing was kept, or Redis cannot be asked."""
        with suppress(RedisError):
            data: Any = self.connection.get(snapshot_key(job_id))
            return None if data is None else bytes(data)
        return None

    def succeed(
        self,
        job_id: str,
        execution_id: str,
        images: Sequence[Image],
        timings: dict[str, float],
        *,
        document: Json = None,
        files: Sequence[StoredFile] = (),
        safety: SafetyResult | None = None,
        fingerprints: Mapping[str, str] | None = None,
        backends: Sequence[str] = (),
    ) -> bool:
        """End the job with its results.

        Args:
            fingerprints: what is kept to find the images, by their ids.
            backends: what ran its models.

        Raises:
            InternalFailure: ``document`` is not JSON, larger than 1 MiB, or nested deeper than 100 levels.
        """
        fields = result_fields(images, document, files, timings, safety, fingerprints, backends)
        return self._conclude(job_id, execution_id, JobStatus.SUCCEEDED, fields)

    def fail(self, job_id: str, execution_id: str, failure: JobFailure, files: Sequence[StoredFile] = ()) -> bool:
        """End the job with the reason why it failed; ``files`` are those of ``failure``, which are stored."""
        fields = {"error_code": failure.code, "error_message": _message(str(failure))}
        if failure.field is not None:
            fields["error_field"] = failure.field
        if failure.document is not None:
            fields["document"] = document_text(failure.document)
        if files:
            fields["files"] = files_text(files)
        return self._conclude(job_id, execution_id, JobStatus.FAILED, fields)

    def cancel(self, job_id: str, execution_id: str) -> bool:
        """End the job as canceled."""
        return self._conclude(job_id, execution_id, JobStatus.CANCELED, {})

    def requeue(self, job_id: str, execution_id: str) -> bool:
        """Set the job back to queued; this counts as no crash."""
        return bool(self._run(self._requeue, job_id, execution_id))

    def retry(self, job_id: str, execution_id: str) -> bool:
        """Set a job that failed back to queued; ``False`` also if it may not run again."""
        return bool(self._run(self._retry, job_id, execution_id))

    def canceled_among(self, job_ids: Sequence[str]) -> list[str]:
        """Those of the running jobs that a client canceled."""
        with self.connection.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hget(record_key(job_id), "cancel_requested")
            flags = pipeline.execute()
        return [job_id for job_id, flag in zip(job_ids, flags, strict=True) if flag == b"1"]

    def _conclude(self, job_id: str, execution_id: str, status: JobStatus, fields: dict[str, str]) -> bool:
        pairs = [part for pair in fields.items() for part in pair]
        is_ours = bool(self._run(self._finish, job_id, execution_id, status, *pairs))
        if is_ours:
            self._note_end(job_id)
        return is_ours

    def _note_end(self, job_id: str) -> None:
        with suppress(RedisError):  # the job has ended, with or without its line in the log
            values: Any = self.connection.hmget(record_key(job_id), trail.JOB_FIELDS)
            trail.job_ended(values)

    def _run(self, script: Any, job_id: str, *arguments: object) -> Any:
        keys = [record_key(job_id), events_key(job_id), watched_key(job_id)]
        return script(keys=keys, args=[repr(time.time()), self.record_ttl_s, *arguments])

    def beat(self, worker_name: str, queue: str = DIFFUSION_QUEUE) -> None:
        """Write the heartbeat of a worker that takes jobs from ``queue``, and remove workers that are long gone."""
        key, now = workers_key(queue), time.time()
        self.connection.zadd(key, {worker_name: now})
        self.connection.zremrangebyscore(key, "-inf", now - FORGOTTEN_AFTER_S)

    def sign_off(self, worker_name: str, queue: str = DIFFUSION_QUEUE) -> None:
        """Remove a worker that takes no more jobs."""
        self.connection.zrem(workers_key(queue), worker_name)

    def note_model_problem(self, model: str, problem: str | None) -> None:
        """Write why ``model`` could not be loaded; ``None`` deletes the note."""
        if problem is None:
            self.connection.hdel(MODEL_PROBLEMS_KEY, model)
        else:
            self.connection.hset(MODEL_PROBLEMS_KEY, model, _message(problem))

    def note_model_backend(self, model: str, backend: str, relative_error: float | None) -> None:
        """Write which backend runs ``model``, and the error of its outputs against torch's, relative to their size."""
        note = json.dumps({"backend": backend, "relative_error": relative_error})
        self.connection.hset(MODEL_BACKENDS_KEY, model, note)


def _message(text: str) -> str:
    """The text as it is stored: at most 2,000 characters, without lone surrogates, which UTF-8 cannot encode."""
    text = text.encode(errors="replace").decode()
    return text if len(text) <= MESSAGE_MAX_CHARS else text[: MESSAGE_MAX_CHARS - 1] + "…"
