"""The routes of Prodia's API v2: a job that is answered with its image, and asynchronous jobs."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from models.errors import ProblemCode
from models.jobs.records import JobRecord, JobStatus
from service.api.errors import ApiError, ErrorCode, invalid_field
from service.api.images import image_job
from service.api.prodia_v2.auth import BearerCaller, BearerSubmitter
from service.api.prodia_v2.errors import accept_of, form_errors, wants_form_errors
from service.api.prodia_v2.forms import form_response
from service.api.prodia_v2.job_types import PING, find_job_type
from service.api.prodia_v2.openapi import ANSWERS, BODY, CREATED, FILE, JOB, STATE, responses
from service.api.prodia_v2.parsing import read_submission
from service.api.prodia_v2.response_format import ResponseFormat, negotiate
from service.api.prodia_v2.schemas import V2Job
from service.api.prodia_v2.submitting import require_workers, submit
from service.api.prodia_v2.views import WORDS, RequestEcho, ping_job, v2_job
from service.api.responses import json_response
from service.api.state import Gateway, GatewayState
from service.api.waiting import wait_for_all

_CREATING = (400, 402, 403, 413, 429, 500, 503)
_READING = (404, 500, 503)
_CAUSED_BY_REQUEST = ("input_unavailable", "out_of_memory", "drawing_failed", "content_refused", "score_too_low")
"""The error codes of jobs that failed because of their request; these are answered with 400."""

router = APIRouter(tags=["prodia v2"])


_Price = Annotated[bool, Query(description="Whether the answer has the price of the job.")]


@router.post(
    "/v2/job",
    operation_id="prodiaV2Job",
    summary="Submit a job and wait for its image",
    response_class=Response,
    openapi_extra=BODY,
    responses=ANSWERS | responses(*_CREATING, 404, with_forms=True),
)
async def create_job(
    request: Request, gateway: GatewayState, caller: BearerSubmitter, price: _Price = False
) -> Response:
    """Process a job and answer with its result. The job is cancelled if the client disconnects."""
    with form_errors(request):
        submission = await read_submission(request)
        job_type = find_job_type(submission.type)
        response_format = negotiate(accept_of(request), submission.accept)
        if job_type.kind == PING:
            return await _pong(gateway, response_format, job_type.name, with_price=price)
        record = await submit(request, gateway, caller, job_type, submission, response_format, is_leased=True)
        (record,) = await wait_for_all(gateway.jobs, caller, request, [record.job_id])
        job = v2_job(record, gateway.settings.record_ttl_s, with_price=price)
        if record.status is not JobStatus.SUCCEEDED:
            return _failed(request, record, job)
        return await _succeeded(gateway, record, job, response_format)


async def _pong(gateway: Gateway, response_format: ResponseFormat, name: str, *, with_price: bool) -> Response:
    await require_workers(gateway)
    job = ping_job(name, time.time(), with_price=with_price).as_json()
    return form_response(job) if response_format.form == "form" else json_response(job)


def _failed(request: Request, record: JobRecord, job: V2Job) -> Response:
    """The job with its error; a form only with status 400, because Prodia's client takes other forms for success."""
    is_blamed = record.error_field is not None or record.error_code in _CAUSED_BY_REQUEST
    is_caused_by_request = record.status is JobStatus.CANCELED or is_blamed
    if is_caused_by_request and wants_form_errors(request):
        return form_response(job.as_json(), status=400)
    return json_response(job.as_json(), status=400 if is_caused_by_request else 500)


async def _succeeded(gateway: Gateway, record: JobRecord, job: V2Job, response_format: ResponseFormat) -> Response:
    if response_format.form == "job":
        return json_response(job.as_json())
    echo = RequestEcho.of(record)
    image = await _image(gateway, record, echo)
    if response_format.form == "image":
        return Response(image, media_type=echo.media_type)
    return form_response(job.as_json(), (echo.filename, echo.media_type, image))


async def _image(gateway: Gateway, record: JobRecord, echo: RequestEcho) -> bytes:
    (png,) = await run_in_threadpool(gateway.jobs.read_images, record)
    (image,) = record.images
    return await gateway.conversions.of(image.image_id, png, echo.image, is_progressive=echo.is_progressive)


@router.post(
    "/v2/job/async",
    operation_id="prodiaV2CreateJob",
    summary="Queue a job",
    status_code=201,
    response_class=Response,
    openapi_extra=BODY,
    responses=CREATED | responses(*_CREATING, with_forms=True),
)
async def create_async_job(
    request: Request, gateway: GatewayState, caller: BearerSubmitter, price: _Price = False
) -> Response:
    """Queue a job, which other routes read by its `id`. The Accept header chooses the format of its image."""
    with form_errors(request):
        submission = await read_submission(request)
        job_type = find_job_type(submission.type)
        response_format = negotiate(accept_of(request), submission.accept)
        if job_type.kind == PING:
            message = f"{job_type.name} is not processed asynchronously; use POST /v2/job"
            raise invalid_field("type", message, ProblemCode.NOT_APPLICABLE)
        record = await submit(request, gateway, caller, job_type, submission, response_format)
        job = v2_job(record, gateway.settings.record_ttl_s, with_price=price)
        return json_response(job.as_json(), status=201)


@router.get(
    "/v2/job/async/{job_id}/job.state.current",
    operation_id="prodiaV2GetState",
    summary="Read the state of a job",
    response_class=PlainTextResponse,
    responses=STATE | responses(*_READING),
)
async def get_state(gateway: GatewayState, caller: BearerCaller, job_id: str) -> PlainTextResponse:
    """`processing`, `processed` or `failed`. A canceled job is `failed`."""
    record = image_job(await gateway.jobs.find(caller, job_id))
    return PlainTextResponse(WORDS[record.status])


@router.get(
    "/v2/job/async/{job_id}/job.json",
    operation_id="prodiaV2GetJob",
    summary="Read a job",
    response_class=Response,
    responses=JOB | responses(*_READING, 400),
)
@router.get(
    "/v2/job/{job_id}",
    operation_id="prodiaV2GetJobByItsId",
    summary="Read a job (shorter path)",
    response_class=Response,
    responses=JOB | responses(*_READING, 400),
)
async def get_job(gateway: GatewayState, caller: BearerCaller, job_id: str, price: _Price = False) -> Response:
    """The job as it is now."""
    record = image_job(await gateway.jobs.find(caller, job_id))
    return json_response(v2_job(record, gateway.settings.record_ttl_s, with_price=price).as_json())


@router.get(
    "/v2/job/async/{job_id}/output",
    operation_id="prodiaV2ListOutput",
    summary="List the output files of a job",
    response_model=list[str],
    responses=responses(*_READING),
)
async def list_output(gateway: GatewayState, caller: BearerCaller, job_id: str) -> list[str]:
    """The name of the image once the job has succeeded; no name before."""
    record = image_job(await gateway.jobs.find(caller, job_id))
    return [RequestEcho.of(record).filename] if record.status is JobStatus.SUCCEEDED else []


@router.get(
    "/v2/job/async/{job_id}/output/{filename}",
    operation_id="prodiaV2GetOutput",
    summary="Download an output file",
    response_class=Response,
    responses=FILE | responses(*_READING),
)
async def get_output(gateway: GatewayState, caller: BearerCaller, job_id: str, filename: str) -> Response:
    """The image, in the format that the Accept header of the submitting request chose."""
    record = image_job(await gateway.jobs.find(caller, job_id))
    echo = RequestEcho.of(record)
    if record.status is not JobStatus.SUCCEEDED or filename != echo.filename:
        raise ApiError(ErrorCode.IMAGE_NOT_FOUND, "the job has no such output file, or has not succeeded yet")
    return Response(await _image(gateway, record, echo), media_type=echo.media_type)
