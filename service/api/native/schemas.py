"""Queries and answers of the native routes for jobs; the bodies are in ``service.api.job_bodies``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, SkipValidation, WithJsonSchema

from models.catalog.names import unknown_name
from models.errors import FieldProblem, InvalidTicket, Problem, ProblemCode
from models.jobs.kinds import job_kinds
from models.jobs.options import LABEL_MAX_CHARS, LABELS_MAX, VALUE_MAX_CHARS, metadata_problem
from models.jobs.params import JobParams
from models.jobs.records import JobStatus
from service.api.errors import Problem as ProblemDetails
from service.api.errors import invalid_field
from service.backbone.listing import Cursor, InvalidCursor, JobQuery

WAIT_MAX_S = 60.0
LIST_MAX = 100
FILTERS_MAX = 16
"""The most values of one filter."""


class WaitQuery(BaseModel):
    """How long a reader waits for the job to finish."""

    model_config = ConfigDict(extra="forbid")
    wait: float = Field(
        0, ge=0, le=WAIT_MAX_S, allow_inf_nan=False, description="Seconds to wait until the job has finished."
    )


_Names = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=FILTERS_MAX)]


class JobFilters(BaseModel):
    """Which jobs of an API key are meant: those that pass every filter that is given."""

    model_config = ConfigDict(extra="forbid")
    kind: _Names = Field([], description="Any of these.")
    model: _Names = Field(
        [], description="Any of these, by their names in the catalog; also models that are not in it any more."
    )
    tag: list[Annotated[str, Field(min_length=1, max_length=LABEL_MAX_CHARS)]] = Field(
        [], max_length=LABELS_MAX, description="All of these."
    )
    metadata: list[Annotated[str, Field(max_length=LABEL_MAX_CHARS + 1 + VALUE_MAX_CHARS)]] = Field(
        [], max_length=LABELS_MAX, description="All of these, each as `key=value`."
    )
    search: str = Field("", max_length=200, description="Words that must all occur in the prompt, in whatever case.")
    created_after: AwareDatetime | None = Field(None, description="Accepted at or after this time.")
    created_before: AwareDatetime | None = Field(None, description="Accepted before this time.")

    def to_query(self) -> JobQuery:
        """The filters.

        A model may have been removed from the catalog after jobs used it; a job of an unknown kind cannot be read.

        Raises:
            InvalidTicket: there is no such kind of job, or an entry of ``metadata`` is no ``key=value``.
        """
        self._require_known_kinds()
        return JobQuery(
            kinds=frozenset(self.kind),
            models=frozenset(self.model),
            tags=tuple(self.tag),
            metadata=tuple(_entry(index, text) for index, text in enumerate(self.metadata)),
            words=tuple(self.search.split()),
            after=0.0 if self.created_after is None else self.created_after.timestamp(),
            before=math.inf if self.created_before is None else self.created_before.timestamp(),
        )

    def _require_known_kinds(self) -> None:
        known = [kind.name for kind in job_kinds()]
        problems = [
            FieldProblem.of(f"kind[{index}]", unknown_name("kind", kind, known))
            for index, kind in enumerate(self.kind)
            if kind not in known
        ]
        if problems:
            raise InvalidTicket(problems)


class ListQuery(JobFilters):
    """Which jobs of the API key are listed: those that pass every filter that is given."""

    limit: int = Field(20, ge=1, le=LIST_MAX, description="The most jobs to list.")
    cursor: str | None = Field(None, max_length=200, description="`next` of the page before.")
    status: list[JobStatus] = Field([], max_length=FILTERS_MAX, description="Any of these.")

    def to_query(self) -> JobQuery:
        """The filters; raises as :meth:`JobFilters.to_query`."""
        return replace(super().to_query(), statuses=frozenset(map(str, self.status)))

    def to_cursor(self) -> Cursor | None:
        """Where the page begins; raises :class:`InvalidTicket` if no page gave such a cursor."""
        try:
            return None if self.cursor is None else Cursor.parse(self.cursor)
        except InvalidCursor as error:
            raise invalid_field("cursor", str(error), ProblemCode.MALFORMED) from error


class NoQuery(BaseModel):
    """The query of a route that deletes much: it has no filters, and none may be thought to have an effect."""

    model_config = ConfigDict(extra="forbid")


class DeleteQuery(NoQuery):
    """Says that all jobs are meant."""

    all: Literal["true"] = Field(description="Must be `true`: nothing of the API key is left.")


def _entry(index: int, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    problem = metadata_problem(key, value) if equals else Problem("must be key=value", ProblemCode.MALFORMED)
    if problem is not None:
        raise InvalidTicket([FieldProblem.of(f"metadata[{index}]", problem)])
    return key, value


class ImageView(BaseModel):
    """A finished image."""

    url: str
    width: int
    height: int
    seed: int | None = Field(
        None, description="What it was drawn with; of a job with `best_of`, alone it gives this image again."
    )


class FileView(BaseModel):
    """A file that a job made."""

    url: str = Field(description="The download needs the API key of the job.")
    name: str
    media_type: str
    size_bytes: int


class SafetyView(BaseModel):
    """What the safety policy found in the images of a job."""

    policy: Literal["off", "tag", "blur", "refuse"]
    classifier: str
    scores: list[float] = Field(
        description="For each image how probably it is unsafe, 0 to 1; empty if they could not be scored."
    )
    flagged: list[bool] = Field(description="For each image whether it is unsafe; `blur` has blurred those.")
    problem: str | None = Field(description="Why the images could not be scored.")


class ResultView(BaseModel):
    """What a finished job gave back."""

    images: list[ImageView]
    document: Any = Field(
        None,
        description="The JSON result of kinds that have one; of a job with `best_of` or `min_score`, the scores of its "
        "candidates.",
    )
    files: list[FileView] = Field(default_factory=list, description="The files of kinds that make some.")
    timings: dict[str, float] = Field(description="Seconds per stage: `prepare_s`, `denoise_s`, `finish_s`.")
    backends: list[str] = Field(
        default_factory=list,
        description="What ran the model, such as `openvino-int8`; `eager` is torch, which runs LoRAs and ControlNets "
        "whatever the model runs on otherwise. Empty for kinds that run on torch only.",
    )


class ProgressView(BaseModel):
    """How much of a job is done."""

    step: int = Field(description="Steps that are done.")
    steps: int = Field(description="Steps of the whole job.")
    loading: str | None = Field(None, description="What is being downloaded or loaded before the first step.")
    done_bytes: int | None = Field(None, description="How many bytes of it are downloaded, during a download.")
    total_bytes: int | None = Field(None, description="How many bytes the whole download has, if that is known.")
    note: dict[str, Any] | None = Field(
        None, description="What a running job of some kinds told last, such as its stage: its last event `note`."
    )


class QueueView(BaseModel):
    """Where a job is in its queue."""

    ahead: int = Field(description="How many jobs are taken before it, if no further ones come.")
    eta_s: float | None = Field(description="Seconds until it probably ends; null if that cannot be told.")


class QuestionView(BaseModel):
    """What an agent job asks a person."""

    id: str
    question: str
    choices: list[str] = Field(description="Suggested answers; another text is one, too.")
    images: list[str] = Field(description="URLs of the images that the question is about.")


class FailureView(BaseModel):
    """Why a job failed."""

    code: str
    message: str


class RewriteView(BaseModel):
    """The outcome of rewriting a prompt."""

    status: Literal["applied", "skipped", "timeout", "unavailable", "refused"]
    revised_prompt: str | None = Field(description="The prompt that is used instead; only if `status` is `applied`.")
    revised_negative_prompt: str | None
    engine: str | None = Field(description="The language model that rewrote.")
    template: str | None = Field(description="Name and version of the instructions to the language model.")
    elapsed_s: float = Field(description="Seconds that the rewriting took.")
    reason: str | None = Field(description="Why the rewrite was not applied.")


def _payload(params: JobParams) -> dict[str, Any]:
    return params.to_payload()


ShownParams = Annotated[JobParams, SkipValidation, PlainSerializer(_payload), WithJsonSchema({})]


class JobView(BaseModel):
    """A job."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    id: str
    kind: str
    status: JobStatus
    params: ShownParams = Field(
        description="The effective parameters: defaults and random seed are filled in, the prompt is as it was sent."
    )
    revised_prompt: str | None = Field(description="The prompt that is used instead, if the prompt was rewritten.")
    rewrite: RewriteView | None = Field(description="The outcome of `enhance_prompt`; null before, or without it.")
    progress: ProgressView
    queue: QueueView | None = Field(
        None, description="The place in the queue of a job that has not ended, where one job is read; null elsewhere."
    )
    waiting_for_input: QuestionView | None = Field(
        None, description="What an agent job asks a person now; answer with `POST /v1/jobs/{id}/input`."
    )
    result: ResultView | None = Field(
        description="Null until the job has succeeded; of one that failed with `score_too_low`, the scores alone."
    )
    safety: SafetyView | None = Field(None, description="What the safety policy found; null without one.")
    error: FailureView | None
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    start_within_s: int | None = Field(description="What the request said; so are the following fields.")
    cancel_after_s: int | None
    retries: int
    retain_s: int | None
    tags: list[str]
    metadata: dict[str, str]
    warnings: list[str] = Field(description="Why the image may disappoint, for people; mostly empty.")


_NEXT = (
    "Send it as `cursor` for the next page; null if this is the last. A page may have fewer entries than `limit`, or "
    "none, although more follow: a page looks at 1,000 jobs at most."
)


class JobListView(BaseModel):
    """Some jobs of the API key."""

    jobs: list[JobView] = Field(description="The newest first.")
    next: str | None = Field(description=_NEXT)


class OwnImageView(ImageView):
    """An image of a job."""

    id: str = Field(description="Jobs start from it as `image:<id>`.")
    job_id: str
    created_at: AwareDatetime = Field(description="When its job was finished.")


class ImageListView(BaseModel):
    """The images of some jobs of the API key."""

    images: list[OwnImageView] = Field(description="The newest jobs first.")
    next: str | None = Field(description=_NEXT)


class JobsDeletedView(BaseModel):
    """What became of jobs that were deleted together."""

    deleted: int
    running: int = Field(description="Jobs that a worker still runs: they are not shown any more, and end at once.")


class CostView(BaseModel):
    """The estimated cost of a job."""

    units: float = Field(description="Megapixel-steps, as `GET /v1/usage` counts them.")
    source_px: int = Field(description="The next four are the measures of `GET /v1/limits`.")
    output_px: int
    step_px: int
    peak_bytes: int


class EstimateView(BaseModel):
    """What a request would become."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    kind: str
    params: ShownParams = Field(description="The effective parameters; a seed that was left out is drawn anew.")
    cost: CostView
    refusal: ProblemDetails | None = Field(
        description="Why the job would be refused now, although the request is valid."
    )


class BatchItemView(BaseModel):
    """What became of one job of a batch."""

    job: JobView | None
    error: ProblemDetails | None = Field(description="Why the job was refused.")


class BatchView(BaseModel):
    """What became of a batch."""

    accepted: int
    refused: int
    items: list[BatchItemView] = Field(description="In the order of the request.")
