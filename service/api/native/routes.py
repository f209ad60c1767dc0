"""The native routes for jobs: submit, read, wait, watch and cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from models.errors import ProblemCode
from models.jobs.records import JOB_ID_PATTERN, JobStatus
from service.api.auth import CurrentCaller, Submitter
from service.api.bodies import parse_json, parsed, received_json, require_json_type
from service.api.documentation import EVENT_STREAM
from service.api.errors import invalid_field, renamed_problems
from service.api.images import base_url
from service.api.job_bodies import parse_job
from service.api.native.errors import CANCELLING_JOB, CREATING_JOB, QUERYING_JOB
from service.api.native.openapi import JOB_BODY
from service.api.native.schemas import JobListView, JobView, ListQuery, WaitQuery
from service.api.native.streaming import JobEvents, event_stream, resume_point
from service.api.native.translate import wire_name
from service.api.native.views import job_view
from service.api.state import Gateway, GatewayState
from service.api.stopping import stopping_of
from service.jobs.caller import Caller

router = APIRouter(tags=["jobs"])


@router.get("/v1/jobs", operation_id="listJobs", summary="List the newest jobs", responses=QUERYING_JOB)
async def list_jobs(
    request: Request, gateway: GatewayState, caller: CurrentCaller, query: Annotated[ListQuery, Query()]
) -> JobListView:
    """The jobs of the API key, the newest first. For the next page, send the id of the last job as `before`."""
    records = await gateway.jobs.list(caller, limit=query.limit, before=query.before)
    return JobListView(jobs=[job_view(record, base_url(request, gateway)) for record in records])


@router.post(
    "/v1/jobs",
    operation_id="createJob",
    summary="Submit a job",
    status_code=202,
    openapi_extra=JOB_BODY,
    responses={
        202: {"description": "The job is queued; `Location` is its path."},
        200: {
            "model": JobView,
            "description": "The job that an earlier request with the same Idempotency-Key submitted.",
        },
        **CREATING_JOB,
    },
)
async def create_job(
    request: Request,
    response: Response,
    gateway: GatewayState,
    caller: Submitter,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)] = None,
) -> JobView:
    """Queue a job. A request with the same `Idempotency-Key` and the same body returns the same job."""
    return await _submit(request, response, gateway, caller, idempotency_key=idempotency_key)


@router.put(
    "/v1/jobs/{job_id}",
    operation_id="putJob",
    summary="Submit a job under an id that you choose",
    status_code=202,
    openapi_extra=JOB_BODY,
    responses={
        202: {"description": "The job is queued."},
        200: {"model": JobView, "description": "The job that an earlier, equal request submitted."},
        **CREATING_JOB,
    },
)
async def put_job(
    request: Request, response: Response, gateway: GatewayState, caller: Submitter, job_id: str
) -> JobView:
    """Queue a job whose id has 1 to 64 letters, digits, `-` and `_`. It is safe to repeat the request (idempotent)."""
    if not JOB_ID_PATTERN.fullmatch(job_id):
        raise invalid_field("job_id", "must be 1 to 64 letters, digits, - and _", ProblemCode.MALFORMED)
    return await _submit(request, response, gateway, caller, job_id=job_id)


async def _submit(
    request: Request,
    response: Response,
    gateway: Gateway,
    caller: Caller,
    *,
    job_id: str | None = None,
    idempotency_key: str | None = None,
) -> JobView:
    require_json_type(request.headers)
    data = await received_json(request, has_images=True)
    body = await parsed(data, lambda data: parse_job(parse_json(data)))
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
    summary="Read a job, or wait until it has finished",
    responses=QUERYING_JOB,
)
async def get_job(
    request: Request, gateway: GatewayState, caller: CurrentCaller, job_id: str, query: Annotated[WaitQuery, Query()]
) -> JobView:
    """The job as it is now. With `wait`, the answer comes once the job has finished, or after that many seconds."""
    if query.wait:
        async with stopping_of(request.scope).interrupting():
            record = await gateway.jobs.wait(caller, job_id, query.wait)
    else:
        record = await gateway.jobs.find(caller, job_id)
    return job_view(record, base_url(request, gateway), await gateway.places.of(record))


@router.delete(
    "/v1/jobs/{job_id}",
    operation_id="cancelJob",
    summary="Cancel a job",
    responses={
        200: {"description": "The job is canceled, or had finished before."},
        202: {"model": JobView, "description": "A worker runs the job and will stop it within one step."},
        **CANCELLING_JOB,
    },
)
async def cancel_job(
    request: Request, response: Response, gateway: GatewayState, caller: Submitter, job_id: str
) -> JobView:
    """Cancel the job: at once if it is queued, within one step if it runs. A finished job stays as it is."""
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
            "description": "Events `status` (the job), `rewrite`, `loading`, `progress` and `preview`, until the "
            "job has finished.",
            "content": EVENT_STREAM,
        },
        **QUERYING_JOB,
    },
)
async def watch_job(
    request: Request,
    gateway: GatewayState,
    caller: CurrentCaller,
    job_id: str,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> StreamingResponse:
    """Stream the events of the job. `Last-Event-ID` resumes after that event."""
    after = resume_point(last_event_id)
    await gateway.jobs.find(caller, job_id)
    base = base_url(request, gateway)
    events = event_stream(gateway.watcher, job_id, after, lambda record: job_view(record, base).model_dump_json())
    return JobEvents(events, gateway.viewers, job_id)
