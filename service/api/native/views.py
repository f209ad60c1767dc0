"""Job records as the native API shows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from models.jobs.candidates import seed_of, shown_document
from models.jobs.records import JobRecord, JobStatus
from models.jobs.results import Image
from models.jobs.rewrite import Rewrite
from models.jobs.sources import shown_params
from models.jobs.warnings import warnings_of
from service.api.errors import Problem, problem_document, to_api_error
from service.api.images import image_url
from service.api.native.schemas import (
    CostView,
    EstimateView,
    FailureView,
    FileView,
    ImageListView,
    ImageView,
    JobListView,
    JobView,
    OwnImageView,
    ProgressView,
    QuestionView,
    QueueView,
    ResultView,
    RewriteView,
    SafetyView,
)
from service.backbone.listing import Page
from service.backbone.places import Place
from service.jobs.batches import Estimate


def job_view(record: JobRecord, base_url: str, place: Place | None = None) -> JobView:
    """``record`` with links to its images that start with ``base_url``, and its place in the queue."""
    return JobView(
        id=record.job_id,
        kind=record.kind,
        status=record.status,
        params=shown_params(record.params),
        revised_prompt=None if record.rewrite is None else record.rewrite.revised_prompt,
        rewrite=rewrite_view(record.rewrite),
        progress=_progress(record),
        queue=None if place is None else QueueView(ahead=place.ahead, eta_s=place.eta_s),
        waiting_for_input=_question(record, base_url),
        result=_result(record, base_url) if _has_result(record) else None,
        safety=None if record.safety is None else SafetyView(**record.safety.to_payload()),
        error=_failure(record),
        created_at=datetime.fromtimestamp(record.created_at, UTC),
        started_at=_datetime(record.started_at),
        finished_at=_datetime(record.finished_at),
        **vars(record.options),
        warnings=warnings_of(record.params, record.backends, record.document),
    )


def _question(record: JobRecord, base_url: str) -> QuestionView | None:
    asked = record.asked
    if asked is None or record.status.is_terminal:
        return None
    images = [image_url(base_url, image_id) for image_id in asked["images"]]
    return QuestionView(id=asked["id"], question=asked["question"], choices=asked["choices"], images=images)


def list_view(page: Page, base_url: str) -> JobListView:
    return JobListView(jobs=[job_view(record, base_url) for record in page.records], next=_next(page))


def images_view(page: Page, base_url: str) -> ImageListView:
    images = [own_image_view(record, image, base_url) for record in page.records for image in record.images]
    return ImageListView(images=images, next=_next(page))


def own_image_view(record: JobRecord, image: Image, base_url: str) -> OwnImageView:
    """An image of the job in ``record``."""
    return OwnImageView(
        id=image.image_id,
        job_id=record.job_id,
        url=image_url(base_url, image.image_id),
        width=image.width,
        height=image.height,
        seed=seed_of(record, image.image_id),
        created_at=datetime.fromtimestamp(record.finished_at or record.created_at, UTC),
    )


def _next(page: Page) -> str | None:
    return None if page.next is None else str(page.next)


def estimate_view(kind: str, estimate: Estimate, request_id: str) -> EstimateView:
    cost, refusal = estimate.cost, estimate.refusal
    return EstimateView(
        kind=kind,
        params=shown_params(estimate.params),
        cost=CostView(
            units=estimate.units,
            source_px=cost.source_px,
            output_px=cost.output_px,
            step_px=cost.step_px,
            peak_bytes=cost.peak_bytes,
        ),
        refusal=None if refusal is None else problem_view(refusal, request_id),
    )


def problem_view(error: Exception, request_id: str) -> Problem:
    """``error`` as the problem details that it would be as a response."""
    return Problem.model_validate(problem_document(to_api_error(error), request_id))


def rewrite_view(rewrite: Rewrite | None) -> RewriteView | None:
    return None if rewrite is None else RewriteView(**rewrite.to_payload())


def _progress(record: JobRecord) -> ProgressView:
    loading = record.loading if record.status is JobStatus.RUNNING else None
    return ProgressView(
        step=record.step,
        steps=record.steps,
        loading=None if loading is None else loading.name,
        done_bytes=None if loading is None else loading.done_bytes,
        total_bytes=None if loading is None else loading.total_bytes,
        note=dict(record.noted) if record.noted and record.status is JobStatus.RUNNING else None,
    )


def _has_result(record: JobRecord) -> bool:
    return record.status is JobStatus.SUCCEEDED or record.document is not None


def _result(record: JobRecord, base_url: str) -> ResultView:
    images = [
        ImageView(
            url=image_url(base_url, image.image_id),
            width=image.width,
            height=image.height,
            seed=seed_of(record, image.image_id),
        )
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
    return ResultView(
        images=images, document=shown_document(record), files=files, timings=record.timings,
        backends=list(record.backends),
    )  # fmt: skip


def _failure(record: JobRecord) -> FailureView | None:
    if record.error_code is None:
        return None
    message = record.error_message or ""
    return FailureView(
        code=record.error_code, message=f"{record.error_field}: {message}" if record.error_field else message
    )


def _datetime(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def at_status(record: JobRecord, status: JobStatus) -> JobRecord:
    """``record`` as it was when its status became ``status``; its status may have changed since."""
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
        error_field=None,
        started_at=started_at,
        finished_at=None,
    )
