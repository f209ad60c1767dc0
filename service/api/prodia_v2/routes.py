"""Prodia v2's calls: a job that is answered with its image, the asynchronous ones, and the list of types."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from models.catalog.catalog import Catalog
from models.catalog.families import DRAWN_KINDS
from models.errors import FieldProblem, InvalidTicket
from models.jobs.records import JobRecord, JobStatus
from service.api.auth import authenticate
from service.api.errors import ApiError, ErrorCode
from service.api.formats import convert
from service.api.prodia_v2.accept import Wanted, negotiate
from service.api.prodia_v2.answers import accept_of, form_response, json_response, told_in_kind, wants_form_errors
from service.api.prodia_v2.calls import read_call
from service.api.prodia_v2.documents import ANSWERS, BODY, CREATED, FILE, JOB, STATE, errors
from service.api.prodia_v2.job_types import JOB_TYPES, PING, JobType, choose_model, find_job_type, type_problem
from service.api.prodia_v2.taking import require_capacity, take
from service.api.prodia_v2.views import WORDS, Asked, V2Job, ping_job, v2_job
from service.api.state import Gateway, GatewayState
from service.api.waiting import wait_for_all
from service.jobs.caller import Caller

_CREATING = (400, 413, 429, 500, 503)
_READING = (404, 500, 503)
_CLIENTS_FAULT = ("input_unavailable", "out_of_memory", "drawing_failed")
"""Failures of jobs, by their codes, that another request would not have had."""

router = APIRouter(tags=["prodia v2"])


async def _bearer_caller(
    gateway: GatewayState,
    bearer: Annotated[
        HTTPAuthorizationCredentials | None, Security(HTTPBearer(scheme_name="Bearer", auto_error=False))
    ] = None,
) -> Caller:
    return await authenticate(gateway, bearer)


_Caller = Annotated[Caller, Depends(_bearer_caller)]
_Price = Annotated[bool, Query(description="Whether the job tells its price.")]


class TypeView(BaseModel):
    """One job type."""

    type: str
    inputs: tuple[str, ...] = Field(description="What the images that come along mean, in their order.")
    model: str | None = Field(description="The model that draws unless the config names another one.")
    is_async: bool = Field(description="Whether the asynchronous calls take it.")
    problem: str | None = Field(description="Why it cannot be done here; null if it can.")


class TypeList(BaseModel):
    """All job types."""

    types: list[TypeView]


@router.post(
    "/v2/job",
    operation_id="prodiaV2Job",
    summary="Have a job done, and wait for its image",
    response_class=Response,
    openapi_extra=BODY,
    responses=ANSWERS | errors(*_CREATING, 404, with_forms=True),
)
async def create_job(request: Request, gateway: GatewayState, caller: _Caller, price: _Price = False) -> Response:
    """Have a job done. A client that closes the connection cancels it."""
    with told_in_kind(request):
        call = await read_call(request)
        job_type = find_job_type(call.type)
        wanted = negotiate(accept_of(request), call.hint)
        if job_type.kind == PING:
            return await _pong(gateway, wanted, job_type.name, with_price=price)
        record = await take(request, gateway, caller, job_type, call, wanted)
        (record,) = await wait_for_all(gateway.jobs, caller, request, [record.job_id])
        job = v2_job(record, gateway.settings.record_ttl_s, with_price=price)
        if record.status is not JobStatus.SUCCEEDED:
            return _failed(request, record, job)
        return await _done(gateway, record, job, wanted)


async def _pong(gateway: Gateway, wanted: Wanted, name: str, *, with_price: bool) -> Response:
    await require_capacity(gateway)
    job = ping_job(name, time.time(), with_price=with_price).as_json()
    return form_response(job) if wanted.form == "form" else json_response(job)


def _failed(request: Request, record: JobRecord, job: V2Job) -> Response:
    """The job with its error: as a form only with a 4xx, for Prodia's client takes any other form for a success."""
    is_clients_fault = record.status is JobStatus.CANCELED or record.error_code in _CLIENTS_FAULT
    if is_clients_fault and wants_form_errors(request):
        return form_response(job.as_json(), status=400)
    return json_response(job.as_json(), status=400 if is_clients_fault else 500)


async def _done(gateway: Gateway, record: JobRecord, job: V2Job, wanted: Wanted) -> Response:
    if wanted.form == "job":
        return json_response(job.as_json())
    asked = Asked.of(record)
    image = await _image(gateway, record, asked)
    if wanted.form == "image":
        return Response(image, media_type=asked.media_type)
    return form_response(job.as_json(), (asked.filename, asked.media_type, image))


async def _image(gateway: Gateway, record: JobRecord, asked: Asked) -> bytes:
    (png,) = await run_in_threadpool(gateway.jobs.read_images, record)
    return await run_in_threadpool(convert, png, asked.image, is_progressive=asked.is_progressive)


@router.post(
    "/v2/job/async",
    operation_id="prodiaV2CreateJob",
    summary="Queue a job",
    status_code=201,
    response_class=Response,
    openapi_extra=BODY,
    responses=CREATED | errors(*_CREATING, with_forms=True),
)
async def create_async_job(request: Request, gateway: GatewayState, caller: _Caller, price: _Price = False) -> Response:
    """Queue a job, to be read by its `id`. The Accept header chooses the format of its image."""
    with told_in_kind(request):
        call = await read_call(request)
        job_type = find_job_type(call.type)
        wanted = negotiate(accept_of(request), call.hint)
        if job_type.kind == PING:
            raise InvalidTicket([FieldProblem("type", f"{job_type.name} is not done asynchronously; use POST /v2/job")])
        record = await take(request, gateway, caller, job_type, call, wanted)
        job = v2_job(record, gateway.settings.record_ttl_s, with_price=price)
        return json_response(job.as_json(), status=201)


@router.get(
    "/v2/job/async/{job_id}/job.state.current",
    operation_id="prodiaV2GetState",
    summary="Read where a job is",
    response_class=PlainTextResponse,
    responses=STATE | errors(*_READING),
)
async def get_state(gateway: GatewayState, caller: _Caller, job_id: str) -> PlainTextResponse:
    """One word. A canceled job is shown as failed."""
    record = await gateway.jobs.find(caller, job_id)
    return PlainTextResponse(WORDS[record.status])


@router.get(
    "/v2/job/async/{job_id}/job.json",
    operation_id="prodiaV2GetJob",
    summary="Read a job",
    response_class=Response,
    responses=JOB | errors(*_READING, 400),
)
@router.get(
    "/v2/job/{job_id}",
    operation_id="prodiaV2GetJobByItsId",
    summary="Read a job, by a shorter path",
    response_class=Response,
    responses=JOB | errors(*_READING, 400),
)
async def get_job(gateway: GatewayState, caller: _Caller, job_id: str, price: _Price = False) -> Response:
    """The job as it is now."""
    record = await gateway.jobs.find(caller, job_id)
    return json_response(v2_job(record, gateway.settings.record_ttl_s, with_price=price).as_json())


@router.get(
    "/v2/job/async/{job_id}/output",
    operation_id="prodiaV2ListOutput",
    summary="The names of a job's output files",
    response_model=list[str],
    responses=errors(*_READING),
)
async def list_output(gateway: GatewayState, caller: _Caller, job_id: str) -> list[str]:
    """One name once the job is processed, none before."""
    record = await gateway.jobs.find(caller, job_id)
    return [Asked.of(record).filename] if record.status is JobStatus.SUCCEEDED else []


@router.get(
    "/v2/job/async/{job_id}/output/{filename}",
    operation_id="prodiaV2GetOutput",
    summary="An output file",
    response_class=Response,
    responses=FILE | errors(*_READING),
)
async def get_output(gateway: GatewayState, caller: _Caller, job_id: str, filename: str) -> Response:
    """The file of that name."""
    record = await gateway.jobs.find(caller, job_id)
    asked = Asked.of(record)
    if record.status is not JobStatus.SUCCEEDED or filename != asked.filename:
        raise ApiError(ErrorCode.IMAGE_NOT_FOUND, "the job has no such output file, or not yet")
    return Response(await _image(gateway, record, asked), media_type=asked.media_type)


@router.get("/v2/types", operation_id="prodiaV2ListTypes", summary="The job types", responses=errors(500, 503))
def list_types(gateway: GatewayState, caller: _Caller) -> TypeList:
    """Every job type that is known here, with the reason if it cannot be done. Prodia has no such call."""
    catalog = gateway.catalog.current()
    return TypeList(types=[_type_view(each, catalog) for each in JOB_TYPES.values()])


def _type_view(job_type: JobType, catalog: Catalog) -> TypeView:
    problem = type_problem(job_type, catalog)
    draws = job_type.kind in DRAWN_KINDS and problem is None
    return TypeView(
        type=job_type.name,
        inputs=job_type.roles,
        model=(choose_model(job_type, None, catalog) or catalog.default) if draws else None,
        is_async=job_type.kind != PING,
        problem=problem,
    )
