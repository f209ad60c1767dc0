"""Job records as Prodia's API v2 shows them, and what a record keeps of the request for that purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.jobs.candidates import first_seed
from models.jobs.params import FACE_RESTORE, UPSCALE, DrawParams, UpscaleParams
from models.jobs.records import JobRecord, JobStatus, new_job_id
from service.api.formats import IMAGE_FORMATS, PNG, ImageFormat
from service.api.prodia_v2.schemas import JobState, Metrics, Price, StateChange, V2Job, Word
from service.api.prodia_v2.translate import wire_name

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


@dataclass(frozen=True, kw_only=True)
class RequestEcho:
    """A request in Prodia's words, as the job record keeps it beside the parameters."""

    type: str
    config: Mapping[str, Any]
    media_type: str
    """The media type of the image."""
    warnings: tuple[str, ...] = ()

    def to_payload(self) -> dict[str, Any]:
        """The echo as JSON-ready values, which :meth:`of` reads."""
        return asdict(self) | {"warnings": list(self.warnings)}

    @classmethod
    def of(cls, record: JobRecord) -> RequestEcho:
        """The echo in ``record``; for a job that another API submitted, an equivalent request."""
        kept = record.requested
        if "media_type" in kept:
            return cls(**kept | {"warnings": tuple(kept["warnings"])})
        return cls(
            type=_NATIVE_TYPES.get(record.kind, record.kind), config=kept.get("params", {}), media_type=PNG.media_type
        )

    @property
    def image(self) -> ImageFormat:
        return IMAGE_FORMATS[self.media_type]

    @property
    def filename(self) -> str:
        return f"output.{self.image.extension}"

    @property
    def is_progressive(self) -> bool:
        """Whether a JPEG should be a progressive one."""
        return self.config.get("progressive") is True


def v2_job(record: JobRecord, ttl_s: float, *, with_price: bool) -> V2Job:
    """``record`` as Prodia shows it.

    Args:
        ttl_s: how long a record is kept after the end of its job.
    """
    echo = RequestEcho.of(record)
    updated_at = record.finished_at or record.started_at or record.created_at
    return V2Job(
        id=record.job_id,
        type=echo.type,
        config={**echo.config, **_chosen(record)},
        created_at=_timestamp(record.created_at),
        updated_at=_timestamp(updated_at),
        expires_at=_timestamp(updated_at + ttl_s),
        state=JobState(current=WORDS[record.status], history=_history(record)),
        metrics=_metrics(record),
        price=Price(product=echo.type, dollars=0.0) if with_price else None,
        error=failure(record),
        warnings=list(echo.warnings) or None,
    )


def ping_job(name: str, now_s: float, *, with_price: bool) -> V2Job:
    """A job of the type ``inference.ping.v1``, which is finished at once and is not stored."""
    now = _timestamp(now_s)
    return V2Job(
        id=new_job_id(),
        type=name,
        config={},
        created_at=now,
        updated_at=now,
        expires_at=now,
        state=JobState(
            current="processed", history=[StateChange(state="processed", message="processed", created_at=now)]
        ),
        metrics=Metrics(elapsed=0.0),
        price=Price(product=name, dollars=0.0) if with_price else None,
    )


def failure(record: JobRecord) -> str | None:
    """Why the job failed or was canceled; ``None`` otherwise."""
    if record.status is JobStatus.CANCELED:
        return "the job was canceled"
    if record.status is not JobStatus.FAILED:
        return None
    message = record.error_message or record.error_code
    return message if record.error_field is None else f"{wire_name(record.error_field)}: {message}"


def _chosen(record: JobRecord) -> dict[str, Any]:
    """The effective values of parameters that the request may have left open."""
    params = record.params
    if isinstance(params, DrawParams):
        return {"seed": first_seed(record), "model": params.model}
    return {"upscaler": params.upscaler, "scale": params.scale} if isinstance(params, UpscaleParams) else {}


def _history(record: JobRecord) -> list[StateChange]:
    changes = [StateChange(state="processing", message="queued", created_at=_timestamp(record.created_at))]
    if record.started_at is not None:
        changes.append(StateChange(state="processing", message="started", created_at=_timestamp(record.started_at)))
    if record.finished_at is not None:
        message = failure(record) or WORDS[record.status]
        changes.append(
            StateChange(state=WORDS[record.status], message=message, created_at=_timestamp(record.finished_at))
        )
    return changes


def _metrics(record: JobRecord) -> Metrics:
    if record.started_at is None or record.finished_at is None:
        return Metrics()
    denoise_s = record.timings.get("denoise_s", 0.0)
    has_steps = isinstance(record.params, DrawParams) and denoise_s > 0
    ips = round(record.steps / denoise_s, 3) if has_steps else None
    return Metrics(elapsed=round(record.finished_at - record.started_at, 3), ips=ips)


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
