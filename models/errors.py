"""Every error that Photogram raises on purpose.

PhotogramError
├── InvalidFields         fields of a request are wrong; ``problems`` says which and how
│   └── InvalidTicket         the request asks for what nobody can draw; nothing was queued
├── CatalogError          the catalog file, or an edit of it, makes no sense
├── FinetuneError         a vision model cannot be finetuned: its data, the model or the disk is not fit for it
├── PromptError           a prompt cannot be read; in models.jobs.prompts
├── PlanRefused           a plan, a change of it or a check breaks a rule; in models.agent.refusals
├── BriefRefused          nothing can be made of the brief of an agent job; in models.agent.refusals
├── UnreadableImage       the bytes are no image, too large a one, or what it says of itself is damaged
├── UnreadableArchive     the bytes are no zip archive, or one that may not be unpacked
├── DeviceLost            the device is unusable for this process; no JobFailure, since no job is to blame
├── StorageUnavailable    a result or an upload cannot be stored now, for example because the disk is full
└── JobFailure            why a job ended as failed; ``code`` is for programs, the message for people
    ├── ModelUnavailable  the checkpoint cannot be loaded
    │   └── DownloadFailed    its files cannot be downloaded
    ├── InputUnavailable  an image that the job starts from cannot be had
    ├── OutOfMemory       the job does not fit the device, even alone
    ├── WorkerCrashed     the job ended its worker too often
    ├── DeadlineExceeded  the job took longer than it may
    ├── DrawingFailed     the sampler produced no image
    ├── TrainingFailed    a model cannot be trained: the data set, the model or the disk is not fit for it
    ├── DeployFailed      a model cannot be deployed: no package of it was made
    ├── ChecksFailed      a model was deployed, and its package did not pass its checks
    ├── AgentFailed       an agent made nothing of its brief
    ├── ScoreTooLow       no image fits the prompt as well as the request asks for
    ├── ContentRefused    the safety policy refuses an image
    ├── SafetyUnavailable the safety policy cannot look at an image
    └── InternalFailure   anything else; the log has the traceback
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

SHOWN_MAX_CHARS = 100
"""How much of a text from a request a message repeats."""
_FAILURE_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def shortened(text: str) -> str:
    """``text`` as a message repeats it: cut off after :data:`SHOWN_MAX_CHARS` characters."""
    return text if len(text) <= SHOWN_MAX_CHARS else f"{text[:SHOWN_MAX_CHARS]}..."


def quoted(text: str) -> str:
    """``text`` as a message repeats it, in quotes."""
    return repr(shortened(text))


class PhotogramError(Exception):
    """The base of all errors raised on purpose."""


class ProblemCode(StrEnum):
    """What kind of thing is wrong with a field, for programs; the message says it for people."""

    INVALID = "invalid"
    """Anything that none of the other codes says."""
    MALFORMED = "malformed"
    """The value has the wrong type or cannot be parsed."""
    REQUIRED = "required"
    UNKNOWN_FIELD = "unknown_field"
    OUT_OF_RANGE = "out_of_range"
    """A number is below ``low`` or above ``high``."""
    TOO_LONG = "too_long"
    """A text or a list has more than ``high`` characters or entries."""
    NOT_ALLOWED = "not_allowed"
    """The value is not one of ``allowed``."""
    UNKNOWN_NAME = "unknown_name"
    """Nothing in the catalog has this name; ``allowed`` has the first names that there are."""
    NOT_APPLICABLE = "not_applicable"
    """The field has no effect on this kind of job or this model."""
    CONFLICT = "conflict"
    """The field contradicts another one."""
    UNAVAILABLE = "unavailable"
    """This server lacks what the field asks for."""
    TOO_COSTLY = "too_costly"
    """The request would cost more than is allowed; ``high`` is the limit that it is above."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a value, before anybody knows which field had it."""

    message: str
    code: ProblemCode = ProblemCode.INVALID
    low: float | None = None
    """The smallest number, length or count that is allowed."""
    high: float | None = None
    """The largest number, length or count that is allowed."""
    allowed: tuple[str | int, ...] | None = None
    """All values that are allowed, or the first few of them."""


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field of a request: a :class:`Problem`, and the field that has it."""

    field: str
    """The path of the field in the request, as in ``controls[0].weight``."""
    message: str
    code: ProblemCode = ProblemCode.INVALID
    low: float | None = None
    high: float | None = None
    allowed: tuple[str | int, ...] | None = None

    @classmethod
    def of(cls, field: str, problem: Problem | str) -> FieldProblem:
        """``problem``, said of ``field``; a bare text is a problem without a code of its own."""
        if isinstance(problem, str):
            return cls(field, problem)
        return cls(field, problem.message, problem.code, problem.low, problem.high, problem.allowed)

    def renamed(self, field: str) -> FieldProblem:
        """The same problem under the name that the caller's dialect has for the field."""
        return replace(self, field=field)


class InvalidFields(PhotogramError):
    """Fields of a request are wrong, with every problem found in them."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problem.renamed(shortened(problem.field)) for problem in problems)
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in self.problems))


class InvalidTicket(InvalidFields):
    """A request that must not be queued."""


class CatalogError(PhotogramError):
    """The catalog file, or an edit of it, makes no sense.

    Args:
        key: the key of a model's entry whose value is wrong, as in ``defaults.width``.
        reason: what is wrong with it, to follow its name.
    """

    def __init__(self, message: str, key: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.key, self.reason = key, reason


class FinetuneError(PhotogramError):
    """A vision model cannot be finetuned with this data and these options; the message says why, and where."""


DAMAGED = "the image is damaged: its pixels or what describes them cannot be read"
"""What a message says of damage that a library found, whose own words tell nobody anything."""


class UnreadableImage(PhotogramError):
    """The bytes are no image, too large a one, or what it says of itself is damaged."""


class UnreadableArchive(PhotogramError):
    """The bytes are no zip archive, or one that may not be unpacked; the message says what is wrong with it."""


class DeviceLost(PhotogramError):
    """An error after which this process can no longer use its device; only a new process can.

    It is no :class:`JobFailure`: the worker ends, and its jobs are delivered to another one.
    """


class StorageUnavailable(PhotogramError):
    """Nothing can be stored now: the disk is full or nearly full, or the data folder cannot be written.

    It is nobody's request that is wrong, and it may pass: try again later.
    """


class JobFailure(PhotogramError):
    """Why a job ended as failed; a job kind may raise its own subclasses, each with a ``code`` for clients.

    Args:
        message: for the client.
        field: the path of the request's field that is to blame, as in :class:`FieldProblem`; ``None`` if none is.
        detail: what a library said, for the log; it never reaches clients.
        document: JSON that the record keeps as it keeps the result of a job that succeeded.
        files: of the result, each a ``models.jobs.results.FileOutput``; clients see them if there is a ``document``.

    Raises:
        TypeError: a subclass is defined whose ``code`` is not in snake case, or longer than 64 characters.
    """

    code = "internal_error"

    def __init__(
        self,
        message: str = "",
        field: str | None = None,
        *,
        detail: str | None = None,
        document: Any = None,
        files: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.field, self.detail, self.document, self.files = field, detail, document, files

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not isinstance(cls.code, str) or not _FAILURE_CODE.fullmatch(cls.code):
            raise TypeError(f"{cls.__name__}.code must be snake case of at most 64 characters, not {cls.code!r}")


def with_detail(error: Exception) -> str:
    """The message of ``error``, and what a library said of it: for the operator's own terminal, never for clients."""
    detail = getattr(error, "detail", None)
    return f"{error} ({detail})" if detail else str(error)


def in_flags(error: PhotogramError, flags: Mapping[str, str]) -> str:
    """The message of ``error`` with the flags that gave the fields of a request; an empty flag leaves the name out."""
    if not isinstance(error, InvalidFields):
        return with_detail(error)
    named = ((flags.get(each.field, each.field), each.message) for each in error.problems)
    return "; ".join(f"{flag} {message}".lstrip() for flag, message in named)


class ModelUnavailable(JobFailure):
    """The checkpoint cannot be loaded; the message says why."""

    code = "model_unavailable"


class DownloadFailed(ModelUnavailable):
    """The files of a model cannot be downloaded; the message says why, and what to do."""


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


class TrainingFailed(JobFailure):
    """A model cannot be trained with the data set and the parameters of the job; the message says why, and where."""

    code = "training_failed"


class DeployFailed(JobFailure):
    """No package of a model can be made for the backend and the precision of the job; the message says why."""

    code = "deploy_failed"


class ChecksFailed(JobFailure):
    """The package that the job made did not pass its checks and is not served; the document has what they found."""

    code = "checks_failed"


class AgentFailed(JobFailure):
    """An agent made nothing of its brief; the message says why, and the document has what it tried."""

    code = "agent_failed"


class ScoreTooLow(JobFailure):
    """None of the images fits the prompt as well as the request asks for; nothing of them is stored but the scores."""

    code = "score_too_low"


class ContentRefused(JobFailure):
    """The safety policy refuses an image that the job starts from, or that it made; nothing of it is stored."""

    code = "content_refused"


class SafetyUnavailable(JobFailure):
    """The safety policy cannot look at the images of the job, and the server lets no such job pass."""

    code = "safety_unavailable"


class InternalFailure(JobFailure):
    """Anything unforeseen; the worker's log has the traceback."""
