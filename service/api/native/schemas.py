"""Queries and answers of the native routes for jobs; the bodies are in ``service.api.job_bodies``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, SkipValidation, WithJsonSchema

from models.jobs.params import JobParams
from models.jobs.records import JobStatus

WAIT_MAX_S = 60.0
LIST_MAX = 100


class WaitQuery(BaseModel):
    """How long a reader waits for the job to finish."""

    model_config = ConfigDict(extra="forbid")
    wait: float = Field(
        0, ge=0, le=WAIT_MAX_S, allow_inf_nan=False, description="Seconds to wait until the job has finished."
    )


class ListQuery(BaseModel):
    """Which jobs of the API key are listed."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(20, ge=1, le=LIST_MAX, description="The most jobs to list.")
    before: str | None = Field(None, description="The id of a job: only jobs that were submitted before it are listed.")


class ImageView(BaseModel):
    """A finished image."""

    url: str
    width: int
    height: int


class FileView(BaseModel):
    """A file that a job made."""

    url: str = Field(description="The download needs the API key of the job.")
    name: str
    media_type: str
    size_bytes: int


class ResultView(BaseModel):
    """What a finished job gave back."""

    images: list[ImageView]
    document: Any = Field(None, description="The JSON result of kinds that have one.")
    files: list[FileView] = Field(default_factory=list, description="The files of kinds that make some.")
    timings: dict[str, float] = Field(description="Seconds per stage: `prepare_s`, `denoise_s`, `finish_s`.")


class ProgressView(BaseModel):
    """How much of a job is done."""

    step: int = Field(description="Steps that are done.")
    steps: int = Field(description="Steps of the whole job.")
    loading: str | None = Field(None, description="What is being downloaded or loaded before the first step.")
    done_bytes: int | None = Field(None, description="How many bytes of it are downloaded, during a download.")
    total_bytes: int | None = Field(None, description="How many bytes the whole download has, if that is known.")


class QueueView(BaseModel):
    """Where a job is in its queue."""

    ahead: int = Field(description="How many jobs are taken before it, if no further ones come.")
    eta_s: float | None = Field(description="Seconds until it probably ends; null if that cannot be told.")


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


class JobView(BaseModel):
    """A job."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    id: str
    kind: str
    status: JobStatus
    params: Annotated[JobParams, SkipValidation, PlainSerializer(_payload), WithJsonSchema({})] = Field(
        description="The effective parameters: defaults and random seed are filled in, the prompt is as it was sent."
    )
    revised_prompt: str | None = Field(description="The prompt that is used instead, if the prompt was rewritten.")
    rewrite: RewriteView | None = Field(description="The outcome of `enhance_prompt`; null before, or without it.")
    progress: ProgressView
    queue: QueueView | None = Field(
        None, description="The place in the queue of a job that has not ended, where one job is read; null elsewhere."
    )
    result: ResultView | None
    error: FailureView | None
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None


class JobListView(BaseModel):
    """Some jobs of the API key."""

    jobs: list[JobView] = Field(description="The newest first.")
