"""The record of a job: its states, its parameters, and what became of it."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models.jobs.params import DrawParams, JobParams
from models.jobs.results import Image, Json, StoredFile
from models.jobs.rewrite import Rewrite

JOB_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a client may choose as a job's id; ids drawn here are lower-case UUIDs, version 4."""


class JobStatus(StrEnum):
    """The five states of a job; each dialect has its own words for them."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job will never change again."""
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)


def new_job_id() -> str:
    """A fresh id."""
    return str(uuid.uuid4())


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job as the ledger knows it; times are seconds since the epoch."""

    job_id: str
    kind: str
    owner: str
    status: JobStatus
    params: JobParams
    requested: dict[str, Any]
    """The request's own body, for telling a repeat from another request under the same id."""
    image_id: str
    step: int
    steps: int
    images: tuple[Image, ...]
    document: Json
    """The JSON result of kinds that have one; ``None`` until succeeded."""
    files: tuple[StoredFile, ...]
    timings: dict[str, float]
    """Seconds spent in each stage: ``prepare_s``, ``denoise_s``, ``finish_s``; empty until succeeded."""
    error_code: str | None
    error_message: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    is_cancel_requested: bool = False
    loading: str | None = None
    """What the job waits for before its first step, in words; only while it does."""
    rewrite: Rewrite | None = None
    """What became of the prompt, if it was to be rewritten and that was tried."""

    @property
    def drawn_params(self) -> JobParams:
        """The parameters as they are drawn: ``params`` with the rewritten prompt, if there is one."""
        if self.rewrite is None or not isinstance(self.params, DrawParams):
            return self.params
        return self.rewrite.applied_to(self.params)
