"""The native dialect: jobs are posted, read, waited for, watched and cancelled."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from models.errors import FieldProblem, InvalidTicket
from models.jobs.records import JOB_ID_PATTERN, JobStatus
from service.api.auth import CurrentCaller
from service.api.bodies import parse_json, parsed, require_json_type
from service.api.documentation import EVENT_STREAM, problems
from service.api.errors import ErrorCode, renamed_problems
from service.api.images import base_url
from service.api.native.events import event_stream, resume_point
from service.api.native.schemas import JOB_BODY
from service.api.native.translate import parse_job, wire_name
from service.api.native.views import JobListView, JobView, job_view
from service.api.sse import HEADERS
from service.api.state import Gateway, GatewayState
from service.jobs.caller import Caller

WAIT_MAX_S = 60.0
LIST_MAX = 100

_READING = (ErrorCode.UNAUTHORIZED, ErrorCode.JOB_NOT_FOUND, ErrorCode.LEDGER_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)
_CREATING = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.ALREADY_USED,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.MALFORMED_JSON,
    ErrorCode.INVALID_PARAMS,
    ErrorCode.QUEUE_FULL,
    ErrorCode.LEDGER_UNAVAILABLE,
    ErrorCode.INTERNAL_ERROR,
)

router = APIRouter(tags=["jobs"])


class WaitQuery(BaseModel):
    """How long a reader waits for the job to be over."""

    model_config = ConfigDict(extra="forbid")
    wait: float = Field(0, ge=0, le=WAIT_MAX_S, allow_inf_nan=False, description="Seconds to wait for the end.")


class ListQuery(BaseModel):
    """Which of the key's jobs are listed."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(20, ge=1, le=LIST_MAX, description="The most jobs to list.")
    before: str | None = Field(None, description="The id of a job: only jobs that were submitted before it are listed.")


@router.get(
    "/v1/jobs",
    operation_id="listJobs",
    summary="List the newest jobs",
    responses=problems(*_READING, ErrorCode.INVALID_PARAMS),
)
async def list_jobs(
    request: Request, gateway: GatewayState, caller: CurrentCaller, query: Annotated[ListQuery, Query()]
) -> JobListView:
    """The jobs of the API key, the newest first. To read on, send the id of the last one as `before`."""
    before = None if query.before is None else (await gateway.jobs.find(caller, query.before)).created_at
    records = await gateway.jobs.list(caller, limit=query.limit, before=before)
    return JobListView(jobs=[job_view(record, base_url(request, gateway)) for record in records])


@router.post(
    "/v1/jobs",
    operation_id="createJob",
    summary="Have a job done",
    status_code=202,
    openapi_extra=JOB_BODY,
    responses={
        202: {"description": "The job is queued; `Location` says where to read it."},
        200: {"model": JobView, "description": "The job that the same request made before under its Idempotency-Key."},
        **problems(*_CREATING),
    },
)
async def create_job(
    request: Request,
    response: Response,
    gateway: GatewayState,
    caller: CurrentCaller,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)] = None,
) -> JobView:
    """Queue a job under a new id. The same `Idempotency-Key` with the same body gives the same job again."""
    return await _queue(request, response, gateway, caller, idempotency_key=idempotency_key)


@router.put(
    "/v1/jobs/{job_id}",
    operation_id="putJob",
    summary="Have a job done, under an id of your own",
    status_code=202,
    openapi_extra=JOB_BODY,
    responses={
        202: {"description": "The job is queued."},
        200: {"model": JobView, "description": "The job that the same request made before."},
        **problems(*_CREATING),
    },
)
async def put_job(
    request: Request, response: Response, gateway: GatewayState, caller: CurrentCaller, job_id: str
) -> JobView:
    """Queue a job under an id of 1 to 64 letters, digits, `-` and `_`; to repeat the request is safe."""
    if not JOB_ID_PATTERN.fullmatch(job_id):
        raise InvalidTicket([FieldProblem("job_id", "must be 1 to 64 letters, digits, - and _")])
    return await _queue(request, response, gateway, caller, job_id=job_id)


async def _queue(
    request: Request,
    response: Response,
    gateway: Gateway,
    caller: Caller,
    *,
    job_id: str | None = None,
    idempotency_key: str | None = None,
) -> JobView:
    require_json_type(request.headers)
    body = await parsed(await request.body(), lambda data: parse_job(parse_json(data)))
    our_url = base_url(request, gateway)
    with renamed_problems(wire_name):
        accepted = await gateway.jobs.submit(
            caller, body.to_request(), our_url=our_url, job_id=job_id, idempotency_key=idempotency_key
        )
    response.status_code = 202 if accepted.is_new else 200
    response.headers["Location"] = f"/v1/jobs/{accepted.record.job_id}"
    return job_view(accepted.record, our_url)


@router.get(
    "/v1/jobs/{job_id}",
    operation_id="getJob",
    summary="Read a job, or wait for its end",
    responses=problems(*_READING, ErrorCode.INVALID_PARAMS),
)
async def get_job(
    request: Request, gateway: GatewayState, caller: CurrentCaller, job_id: str, query: Annotated[WaitQuery, Query()]
) -> JobView:
    """The job as it is now; with `wait`, as it is once it is over, or after so many seconds."""
    record = await gateway.jobs.wait(caller, job_id, query.wait)
    return job_view(record, base_url(request, gateway))


@router.delete(
    "/v1/jobs/{job_id}",
    operation_id="cancelJob",
    summary="Cancel a job",
    responses={
        200: {"description": "The job is canceled, or was over already."},
        202: {"model": JobView, "description": "A worker has the job and was asked to stop."},
        **problems(*_READING),
    },
)
async def cancel_job(
    request: Request, response: Response, gateway: GatewayState, caller: CurrentCaller, job_id: str
) -> JobView:
    """Cancel the job: at once if it is queued, within a step if it is being drawn, not at all if it is over."""
    record = await gateway.jobs.cancel(caller, job_id)
    response.status_code = 202 if record.status is JobStatus.RUNNING else 200
    return job_view(record, base_url(request, gateway))


@router.get(
    "/v1/jobs/{job_id}/events",
    operation_id="watchJob",
    summary="Watch a job",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events `status` (the job), `rewrite`, `progress` and `preview`, until the job is over.",
            "content": EVENT_STREAM,
        },
        **problems(*_READING, ErrorCode.INVALID_PARAMS),
    },
)
async def watch_job(
    request: Request,
    gateway: GatewayState,
    caller: CurrentCaller,
    job_id: str,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> StreamingResponse:
    """The job's events as they come. `Last-Event-ID` resumes after that event."""
    after = resume_point(last_event_id)
    await gateway.jobs.find(caller, job_id)
    base = base_url(request, gateway)
    events = event_stream(gateway.watcher, job_id, after, lambda record: job_view(record, base).model_dump_json())
    return StreamingResponse(events, media_type="text/event-stream", headers=HEADERS)
