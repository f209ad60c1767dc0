"""The options of a job: what a request of any kind may say of when the job runs, how long it is kept, and its labels.

They are declared once, here, as parameters are in ``models.jobs.params``; the native API has them beside ``params``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from models.errors import FieldProblem, Problem, ProblemCode, quoted
from models.jobs.parameters import Parameter, bound_problem, bound_problems
from models.jobs.payload import Payload

WEEK_S = 7 * 24 * 3600
RETAIN_MAX_S = 10 * 365 * 24 * 3600
RETRIES_MAX = 5
LABELS_MAX = 16
"""The most tags of a job, and the most entries of its metadata."""
LABEL_MAX_CHARS = 64
"""The longest tag, and the longest key of the metadata."""
VALUE_MAX_CHARS = 500
LABELS_MAX_BYTES = 4096
"""Tags and metadata together, as JSON in UTF-8."""
OPTION = "options."
"""What the paths of problems with options begin with, so that they are not taken for those of parameters."""

_KEY = re.compile(rf"[A-Za-z0-9_.-]{{1,{LABEL_MAX_CHARS}}}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Labels are written into logs and terminals."""


@dataclass(frozen=True, kw_only=True)
class JobOptions(Payload):
    """What a request says of its job beside the parameters; the defaults are those of a request that says nothing."""

    start_within_s: Annotated[
        int | None,
        Parameter(
            text="A job that no worker has started after so many seconds fails with `start_timeout` and costs nothing.",
            low=1, high=WEEK_S,
        ),
    ] = None  # fmt: skip
    cancel_after_s: Annotated[
        int | None,
        Parameter(
            text="A job that has not ended so many seconds after it was accepted is canceled.", low=1, high=WEEK_S
        ),
    ] = None
    retries: Annotated[
        int, Parameter(text="How often the job runs again after an `internal_error`.", low=0, high=RETRIES_MAX)
    ] = 0
    retain_s: Annotated[
        int | None,
        Parameter(
            text="Record, images and files are removed so many seconds after the end of the job.",
            low=1, high=RETAIN_MAX_S, if_left_out="as long as the server keeps them",
        ),
    ] = None  # fmt: skip
    tags: Annotated[
        tuple[str, ...],
        Parameter(
            text=f"Words of your own to find the job by, each of 1 to {LABEL_MAX_CHARS} characters.",
            max_items=LABELS_MAX,
        ),
    ] = ()
    metadata: Annotated[
        dict[str, str],
        Parameter(
            text=(
                f"Up to {LABELS_MAX} values of your own to find the job by. A key has 1 to {LABEL_MAX_CHARS} letters, "
                f"digits, `_`, `.` and `-`, a value at most {VALUE_MAX_CHARS} characters; with the tags at most "
                f"{LABELS_MAX_BYTES} bytes of JSON."
            ),
        ),
    ] = field(default_factory=dict)

    @property
    def given(self) -> dict[str, Any]:
        """The options that are not the defaults, JSON-ready."""
        shown = self.to_payload()
        return {each.name: shown[each.name] for each in fields(self) if shown[each.name] not in (None, 0, (), {})}

    @property
    def labels(self) -> tuple[str, ...]:
        """Tags and metadata, each as one text under which the job is found."""
        return tuple(dict.fromkeys([tag_label(tag) for tag in self.tags])) + tuple(
            metadata_label(key, value) for key, value in self.metadata.items()
        )

    def problems(self) -> Iterator[FieldProblem]:
        """What is wrong with the options; the paths begin with :data:`OPTION`."""
        found = [*bound_problems(JobOptions, self, OPTION), *self._label_problems()]
        yield from found
        size = len(json.dumps([self.tags, self.metadata], ensure_ascii=False).encode(errors="replace"))
        if not found and size > LABELS_MAX_BYTES:
            message = f"tags and metadata have {size} bytes together, and may have {LABELS_MAX_BYTES}"
            yield FieldProblem(OPTION + "metadata", message, ProblemCode.TOO_LONG, high=LABELS_MAX_BYTES)

    def _label_problems(self) -> Iterator[FieldProblem]:
        if len(self.tags) <= LABELS_MAX:
            for index, tag in enumerate(self.tags):
                if problem := _tag_problem(tag):
                    yield FieldProblem.of(f"{OPTION}tags[{index}]", problem)
        if len(self.metadata) > LABELS_MAX:
            message = f"may have at most {LABELS_MAX} entries, and has {len(self.metadata)}"
            yield FieldProblem(OPTION + "metadata", message, ProblemCode.TOO_LONG, high=LABELS_MAX)
            return
        for key, value in self.metadata.items():
            if problem := metadata_problem(key, value):
                yield FieldProblem.of(OPTION + "metadata", problem)


NO_OPTIONS = JobOptions()


def tag_label(tag: str) -> str:
    """The label of a tag."""
    return f"tag:{tag}"


def metadata_label(key: str, value: str) -> str:
    """The label of an entry of the metadata."""
    return f"metadata:{key}={value}"


def _tag_problem(tag: str) -> Problem | None:
    if not 1 <= len(tag) <= LABEL_MAX_CHARS:
        message = f"must have 1 to {LABEL_MAX_CHARS} characters"
        return Problem(message, ProblemCode.TOO_LONG if tag else ProblemCode.REQUIRED, low=1, high=LABEL_MAX_CHARS)
    return _control_problem(tag)


def metadata_problem(key: str, value: str) -> Problem | None:
    """Why ``key`` and ``value`` cannot be an entry of the metadata."""
    if not _KEY.fullmatch(key):
        message = f"the key {quoted(key)} must have 1 to {LABEL_MAX_CHARS} letters, digits, _, . and -"
        return Problem(message, ProblemCode.MALFORMED)
    if len(value) > VALUE_MAX_CHARS:
        message = f"the value of {key!r} must have at most {VALUE_MAX_CHARS} characters"
        return Problem(message, ProblemCode.TOO_LONG, high=VALUE_MAX_CHARS)
    return _control_problem(value) or bound_problem(Parameter(text=""), value)


def _control_problem(text: str) -> Problem | None:
    return Problem("must not have control characters", ProblemCode.MALFORMED) if _CONTROL.search(text) else None
