"""The native routes for what an API key owns: its jobs and images are listed, and deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request

from models.jobs.records import JobStatus
from service.api.auth import CurrentCaller, Submitter
from service.api.images import base_url
from service.api.native.errors import CANCELLING_JOB, DELETING_IMAGE, DELETING_JOBS, LISTING_JOBS
from service.api.native.schemas import DeleteQuery, ImageListView, JobListView, JobsDeletedView, JobView, ListQuery
from service.api.native.views import images_view, job_view, list_view
from service.api.state import GatewayState

router = APIRouter(tags=["jobs"])


@router.get("/v1/jobs", operation_id="listJobs", summary="List jobs, or search for some", responses=LISTING_JOBS)
async def list_jobs(
    request: Request, gateway: GatewayState, caller: CurrentCaller, query: Annotated[ListQuery, Query()]
) -> JobListView:
    """The jobs of the API key that pass all filters, the newest first."""
    page = await gateway.jobs.list(caller, query.to_query(), limit=query.limit, cursor=query.to_cursor())
    return list_view(page, base_url(request, gateway))


@router.get("/v1/images", operation_id="listImages", summary="List images", responses=LISTING_JOBS)
async def list_images(
    request: Request, gateway: GatewayState, caller: CurrentCaller, query: Annotated[ListQuery, Query()]
) -> ImageListView:
    """The images of the jobs of the API key that pass all filters; `limit` counts jobs."""
    fitting = replace(query.to_query(), has_images=True)
    page = await gateway.jobs.list(caller, fitting, limit=query.limit, cursor=query.to_cursor())
    return images_view(page, base_url(request, gateway))


@router.delete("/v1/jobs", operation_id="deleteJobs", summary="Delete all jobs", responses=DELETING_JOBS)
async def delete_jobs(
    gateway: GatewayState, caller: Submitter, query: Annotated[DeleteQuery, Query()]
) -> JobsDeletedView:
    """Delete all jobs of the API key, each as `DELETE /v1/jobs/{id}`. A request that fails can be repeated.

    Filters are refused, because they would have no effect.
    """
    found = await gateway.jobs.delete_all(caller)
    return JobsDeletedView(deleted=found.deleted, running=found.running)


@router.delete("/v1/jobs/{job_id}", operation_id="deleteJob", summary="Delete a job", responses=CANCELLING_JOB)
async def delete_job(request: Request, gateway: GatewayState, caller: Submitter, job_id: str) -> JobView:
    """Delete the job with its events, images and files. A job that has not ended is cancelled first.

    The answer is the job as it was. It cannot be read any more, and its images are gone, but for those that another job
    starts from.
    """
    record = await gateway.jobs.find(caller, job_id)
    await gateway.jobs.delete(caller, job_id)
    shown = record if record.status.is_terminal else replace(record, status=JobStatus.CANCELED)
    return job_view(shown, base_url(request, gateway))


@router.delete(
    "/v1/jobs/{job_id}/images/{image_id}",
    operation_id="deleteImage",
    summary="Delete an image",
    status_code=204,
    responses=DELETING_IMAGE,
)
async def delete_image(gateway: GatewayState, caller: Submitter, job_id: str, image_id: str) -> None:
    """Delete one image; the job stays, without it. The file stays if another job starts from it."""
    await gateway.jobs.delete_image(caller, job_id, image_id)
