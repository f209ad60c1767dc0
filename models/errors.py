"""Every error that Photogram raises on purpose.

PhotogramError
├── InvalidTicket         the request asks for what nobody can draw; nothing was queued
├── CatalogError          the catalog file, or an edit of it, makes no sense
├── PromptError           a prompt cannot be read; in models.jobs.prompts
├── UnreadableImage     the bytes are no image, too large a one, or what it says of itself is damaged
└── JobFailure            why a job ended as failed; ``code`` is for programs, the message for people
    ├── ModelUnavailable  the checkpoint cannot be loaded
    ├── InputUnavailable  an image that the job starts from cannot be had
    ├── OutOfMemory       the job does not fit the device, even alone
    ├── WorkerCrashed     the job ended its worker too often
    ├── DeadlineExceeded  the job took longer than it may
    ├── DrawingFailed     the sampler produced no image
    └── InternalFailure   anything else; the log has the traceback
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PhotogramError(Exception):
    """The base of all errors raised on purpose."""


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field of a request."""

    field: str
    message: str


class InvalidTicket(PhotogramError):
    """A request that must not be queued, with every problem found in it."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = tuple(problems)


class CatalogError(PhotogramError):
    """The catalog file, or an edit of it, makes no sense."""


class UnreadableImage(PhotogramError):
    """The bytes are no image, too large a one, or what it says of itself is damaged."""


class JobFailure(PhotogramError):
    """Why a job ended as failed."""

    code = "internal_error"


class ModelUnavailable(JobFailure):
    """The checkpoint cannot be loaded; the message says why."""

    code = "model_unavailable"


class InputUnavailable(JobFailure):
    """An image that the job starts from cannot be fetched, or cannot be read; the message says why."""

    code = "input_unavailable"


class OutOfMemory(JobFailure):
    """The job does not fit the device, even alone."""

    code = "out_of_memory"


class WorkerCrashed(JobFailure):
    """The job ended its worker too often to be tried again."""

    code = "worker_crashed"


class DeadlineExceeded(JobFailure):
    """The job took longer than it may."""

    code = "deadline_exceeded"


class DrawingFailed(JobFailure):
    """The sampler produced numbers that are no image, or refused the request's settings."""

    code = "drawing_failed"


class InternalFailure(JobFailure):
    """Anything unforeseen; the worker's log has the traceback."""
