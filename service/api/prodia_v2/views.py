"""A job as Prodia v2 shows it, and what of a request is kept in the ledger so that it can be shown later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.jobs.params import FACE_RESTORE, UPSCALE, DrawParams, UpscaleParams
from models.jobs.records import JobRecord, JobStatus, new_job_id
from service.api.formats import IMAGE_FORMATS, PNG, ImageFormat

Word = Literal["processing", "processed", "failed"]
WORDS: Mapping[JobStatus, Word] = {
    JobStatus.QUEUED: "processing",
    JobStatus.RUNNING: "processing",
    JobStatus.SUCCEEDED: "processed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELED: "failed",
}
_NATIVE_TYPES = {
    TXT2IMG: "inference.photogram.txt2img.v1", IMG2IMG: "inference.photogram.img2img.v1",
    INPAINT: "inference.photogram.inpainting.v1", UPSCALE: "inference.upscale.v1",
    FACE_RESTORE: "inference.facerestore.upscale.v1",
}  # fmt: skip


class Moment(BaseModel):
    """One step in a job's life."""

    state: Word
    message: str
    created_at: str


class JobState(BaseModel):
    """Where a job is, and how it came there."""

    current: Word
    history: list[Moment]


class Metrics(BaseModel):
    """What a job took; numbers that are not known are left out."""

    elapsed: float | None = Field(default=None, description="Seconds from its start on a worker to its end.")
    ips: float | None = Field(default=None, description="Steps per second.")


class Price(BaseModel):
    """What a job costs: nothing."""

    product: str
    dollars: float


class V2Job(BaseModel):
    """A job; what says nothing is left out, never null."""

    id: str
    type: str
    config: dict[str, Any] = Field(description="As it was asked for, with the seed and the model that were taken.")
    created_at: str
    updated_at: str
    expires_at: str
    state: JobState
    metrics: Metrics
    price: Price | None = Field(default=None, description="Only with `?price=true`.")
    error: str | None = Field(default=None, description="Why it failed.")
    warnings: list[str] | None = Field(default=None, description="What of the request was ignored.")

    def as_json(self) -> dict[str, Any]:
        """The job as JSON-ready values."""
        return self.model_dump(mode="json", exclude_none=True)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request in its own words, as the ledger keeps it beside the parameters."""

    type: str
    config: Mapping[str, Any]
    media_type: str
    """Of the image."""
    warnings: tuple[str, ...] = ()

    def to_payload(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self) | {"warnings": list(self.warnings)}

    @classmethod
    def of(cls, record: JobRecord) -> Asked:
        """What ``record`` was asked for with; jobs of other dialects are told in our words."""
        kept = record.requested
        if "media_type" in kept:
            return cls(**kept | {"warnings": tuple(kept["warnings"])})
        return cls(type=_NATIVE_TYPES[record.kind], config=kept.get("params", {}), media_type=PNG.media_type)

    @property
    def image(self) -> ImageFormat:
        """The format of the image."""
        return IMAGE_FORMATS[self.media_type]

    @property
    def filename(self) -> str:
        """The name of the image's file."""
        return f"output.{self.image.extension}"

    @property
    def is_progressive(self) -> bool:
        """Whether a JPEG should be a progressive one."""
        return self.config.get("progressive") is True


def v2_job(record: JobRecord, ttl_s: float, *, with_price: bool) -> V2Job:
    """``record`` as its owner sees it; it can be read for ``ttl_s`` after its end."""
    asked = Asked.of(record)
    updated_at = record.finished_at or record.started_at or record.created_at
    return V2Job(
        id=record.job_id,
        type=asked.type,
        config={**asked.config, **_taken(record)},
        created_at=_moment(record.created_at),
        updated_at=_moment(updated_at),
        expires_at=_moment(updated_at + ttl_s),
        state=JobState(current=WORDS[record.status], history=_history(record)),
        metrics=_metrics(record),
        price=Price(product=asked.type, dollars=0.0) if with_price else None,
        error=failure(record),
        warnings=list(asked.warnings) or None,
    )


def ping_job(name: str, now_s: float, *, with_price: bool) -> V2Job:
    """A job that is over as soon as it is asked for, and is kept nowhere."""
    now = _moment(now_s)
    return V2Job(
        id=new_job_id(),
        type=name,
        config={},
        created_at=now,
        updated_at=now,
        expires_at=now,
        state=JobState(current="processed", history=[Moment(state="processed", message="processed", created_at=now)]),
        metrics=Metrics(elapsed=0.0),
        price=Price(product=name, dollars=0.0) if with_price else None,
    )


def failure(record: JobRecord) -> str | None:
    """Why the job gave no image; ``None`` if it did, or may yet."""
    if record.status is JobStatus.CANCELED:
        return "the job was canceled"
    return (record.error_message or record.error_code) if record.status is JobStatus.FAILED else None


def _taken(record: JobRecord) -> dict[str, Any]:
    """The choices that the request may have left open."""
    params = record.params
    if isinstance(params, DrawParams):
        return {"seed": params.seed, "model": params.model}
    return {"upscaler": params.upscaler, "scale": params.scale} if isinstance(params, UpscaleParams) else {}


def _history(record: JobRecord) -> list[Moment]:
    moments = [Moment(state="processing", message="queued", created_at=_moment(record.created_at))]
    if record.started_at is not None:
        moments.append(Moment(state="processing", message="started", created_at=_moment(record.started_at)))
    if record.finished_at is not None:
        message = failure(record) or WORDS[record.status]
        moments.append(Moment(state=WORDS[record.status], message=message, created_at=_moment(record.finished_at)))
    return moments


def _metrics(record: JobRecord) -> Metrics:
    if record.started_at is None or record.finished_at is None:
        return Metrics()
    denoise_s = record.timings.get("denoise_s", 0.0)
    is_drawn = isinstance(record.params, DrawParams) and denoise_s > 0
    ips = round(record.steps / denoise_s, 3) if is_drawn else None
    return Metrics(elapsed=round(record.finished_at - record.started_at, 3), ips=ips)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
