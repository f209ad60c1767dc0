"""The record of a job: its state, its parameters and its result."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from models.jobs.options import NO_OPTIONS, JobOptions
from models.jobs.params import DrawParams, JobParams
from models.jobs.results import Image, Json, StoredFile
from models.jobs.rewrite import Rewrite
from models.jobs.safety import OFF, SafetyResult

JOB_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The ids that clients may choose; ids that the server makes are lower-case UUIDs of version 4."""


class JobStatus(StrEnum):
    """The five states of a job; each dialect translates them."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended, so that its state is final."""
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)


def new_job_id() -> str:
    """A random UUID of version 4 in lower case."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class LoadingNow:
    """A model that a job waits for while it is downloaded or loaded."""

    name: str
    """For people, as in ``model sdxl``."""
    done_bytes: int | None = None
    """The bytes that are downloaded; ``None`` if it is loaded from the worker's machine."""
    total_bytes: int | None = None
    """The bytes of the whole download; ``None`` if unknown."""

    def to_payload(self) -> dict[str, Any]:
        """The fields that are known."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job as it is in the ledger; times are in seconds since the epoch."""

    job_id: str
    kind: str
    owner: str
    status: JobStatus
    params: JobParams
    requested: dict[str, Any]
    """The body of the request; it tells a repeated request from another one with the same id."""
    image_id: str
    step: int
    steps: int
    images: tuple[Image, ...]
    document: Json
    """The JSON result of kinds that have one; ``None`` until succeeded, or until a failure that has one."""
    files: tuple[StoredFile, ...]
    timings: dict[str, float]
    """Seconds spent in each stage: ``prepare_s``, ``denoise_s``, ``finish_s``; empty until succeeded."""
    error_code: str | None
    error_message: str | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    is_cancel_requested: bool = False
    error_field: str | None = None
    """The path of the request's field that is to blame for the failure, if one is."""
    loading: LoadingNow | None = None
    """What the job waits for before its first step; only while it waits."""
    noted: Mapping[str, Any] | None = None
    """What the job told last of itself, for kinds that do; only meant for jobs that run."""
    asked: Mapping[str, Any] | None = None
    """What an agent job asks a person now: ``id``, ``question``, ``choices`` and ``images``."""
    rewrite: Rewrite | None = None
    """The outcome of rewriting the prompt, if that was tried."""
    options: JobOptions = NO_OPTIONS
    weight: int = 1
    """The share of its owner, compared with those of other owners whose jobs wait or run."""
    safety_policy: str = OFF
    """One of ``models.jobs.safety.SAFETY``."""
    safety: SafetyResult | None = None
    """What was found in the images; ``None`` until succeeded, or without a policy."""
    backends: tuple[str, ...] = ()
    """What ran its models; empty until succeeded, and for kinds whose models run on torch only."""

    @property
    def drawn_params(self) -> JobParams:
        """The parameters that the image is generated from: ``params`` with the rewritten prompt, if there is one."""
        if self.rewrite is None or not isinstance(self.params, DrawParams):
            return self.params
        return self.rewrite.applied_to(self.params)

    def of_candidate(self, seed: int) -> JobRecord:
        """The record of the job that draws the candidate with that seed alone."""
        assert isinstance(self.params, DrawParams)
        return replace(self, params=replace(self.params, seed=seed, best_of=1, keep=1, min_score=None))
