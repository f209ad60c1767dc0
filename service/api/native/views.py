"""The native wire's views: how clients are shown a job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, SkipValidation, WithJsonSchema

from models.jobs.params import JobParams
from models.jobs.records import JobRecord, JobStatus
from models.jobs.rewrite import Rewrite


class ImageView(BaseModel):
    """A finished image."""

    url: str
    width: int
    height: int


class FileView(BaseModel):
    """A file that a job made."""

    url: str = Field(description="Needs the API key of the job.")
    name: str
    media_type: str
    size_bytes: int


class ResultView(BaseModel):
    """What came of a job."""

    images: list[ImageView]
    document: Any = Field(None, description="The JSON result of kinds that have one.")
    files: list[FileView] = Field(default_factory=list, description="The files of kinds that have some.")
    timings: dict[str, float] = Field(description="Seconds per stage: `prepare_s`, `denoise_s`, `finish_s`.")


class ProgressView(BaseModel):
    """How far a job is."""

    step: int
    steps: int
    loading: str | None = Field(None, description="What the job waits for before its first step.")


class FailureView(BaseModel):
    """Why a job failed."""

    code: str
    message: str


class RewriteView(BaseModel):
    """What became of a prompt that was to be rewritten."""

    status: Literal["applied", "skipped", "timeout", "unavailable", "refused"]
    revised_prompt: str | None = Field(description="What is drawn instead of the prompt; only if applied.")
    revised_negative_prompt: str | None
    engine: str | None = Field(description="The language model.")
    template: str | None = Field(description="Name and version of the instructions that it was given.")
    elapsed_s: float
    reason: str | None = Field(description="Why it was not applied.")


class JobView(BaseModel):
    """A job as its owner sees it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    id: str
    kind: str
    status: JobStatus
    params: Annotated[JobParams, SkipValidation, PlainSerializer(JobParams.to_payload), WithJsonSchema({})] = Field(
        description="The effective parameters: defaults filled in, the seed drawn, the prompt as it was sent."
    )
    revised_prompt: str | None = Field(description="What is drawn instead of the prompt, if that was rewritten.")
    rewrite: RewriteView | None = Field(description="There once `enhance_prompt` was tried.")
    progress: ProgressView
    result: ResultView | None
    error: FailureView | None
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None


class JobListView(BaseModel):
    """Some jobs of the API key."""

    jobs: list[JobView] = Field(description="The newest first.")


def job_view(record: JobRecord, base_url: str) -> JobView:
    """``record`` as clients see it, with links that start with ``base_url``."""
    return JobView(
        id=record.job_id,
        kind=record.kind,
        status=record.status,
        params=record.params,
        revised_prompt=None if record.rewrite is None else record.rewrite.revised_prompt,
        rewrite=rewrite_view(record.rewrite),
        progress=ProgressView(step=record.step, steps=record.steps, loading=_loading(record)),
        result=_result(record, base_url) if record.status is JobStatus.SUCCEEDED else None,
        error=_failure(record),
        created_at=datetime.fromtimestamp(record.created_at, UTC),
        started_at=_moment(record.started_at),
        finished_at=_moment(record.finished_at),
    )


def rewrite_view(rewrite: Rewrite | None) -> RewriteView | None:
    """``rewrite`` as clients see it."""
    return None if rewrite is None else RewriteView(**rewrite.to_payload())


def _loading(record: JobRecord) -> str | None:
    return record.loading if record.status is JobStatus.RUNNING else None


def _result(record: JobRecord, base_url: str) -> ResultView:
    images = [
        ImageView(url=f"{base_url}/images/{image.image_id}.png", width=image.width, height=image.height)
        for image in record.images
    ]
    files = [
        FileView(
            url=f"{base_url}/v1/jobs/{record.job_id}/files/{index}",
            name=file.name,
            media_type=file.media_type,
            size_bytes=file.size_bytes,
        )
        for index, file in enumerate(record.files)
    ]
    return ResultView(images=images, document=record.document, files=files, timings=record.timings)


def _failure(record: JobRecord) -> FailureView | None:
    if record.error_code is None:
        return None
    return FailureView(code=record.error_code, message=record.error_message or "")


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def as_of(record: JobRecord, status: JobStatus) -> JobRecord:
    """``record`` as it was when it came to ``status``, which it may have left since."""
    if record.status is status:
        return record
    started_at = None if status is JobStatus.QUEUED else record.started_at
    return replace(
        record,
        status=status,
        step=0,
        images=(),
        timings={},
        error_code=None,
        error_message=None,
        started_at=started_at,
        finished_at=None,
    )
