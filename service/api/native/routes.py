"""The native routes for jobs: submit, read, wait, watch and cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from models.jobs.records import JobRecord, JobStatus
from service.api.auth import CurrentCaller, Submitter
from service.api.documentation import EVENT_STREAM
from service.api.images import base_url
from service.api.native.errors import CANCELLING_JOB, CREATING_JOB, QUERYING_JOB
from service.api.native.headers import CancelAfter, Prefer, preferred_wait_s
from service.api.native.openapi import JOB_BODY
from service.api.native.polls import JOB_PATH, answer_poll
from service.api.native.schemas import JobView, WaitQuery
from service.api.native.streaming import Attention, JobEvents, event_stream, resume_point
from service.api.native.submissions import IDEMPOTENCY_KEY_CHARS_MAX, JOBS_PATH, JobHeaders, submit_job
from service.api.native.views import job_view
from service.api.state import GatewayState
from service.api.stopping import stopping_of

router = APIRouter(tags=["jobs"])


@router.post(
    JOBS_PATH,
    operation_id="createJob",
    summary="Submit a job",
    status_code=202,
    response_model=JobView,
    openapi_extra=JOB_BODY,
    responses={
        202: {"description": "The job is queued; `Location` is its path."},
        200: {
            "model": JobView,
            "description": "The job that an earlier request with the same Idempotency-Key submitted, or one that has "
            "finished while the request waited.",
        },
        **CREATING_JOB,
    },
)
async def create_job(
    request: Request,
    gateway: GatewayState,
    caller: Submitter,
    idempotency_key: Annotated[
        str | None, Header(alias="Idempotency-Key", min_length=1, max_length=IDEMPOTENCY_KEY_CHARS_MAX)
    ] = None,
    prefer: Prefer = None,
    cancel_after: CancelAfter = None,
) -> Response:
    """Queue a job. A request with the same `Idempotency-Key` and the same body returns the same job."""
    said = JobHeaders(prefer, cancel_after, idempotency_key)
    return await submit_job(request, gateway, caller, said)


@router.put(
    JOB_PATH,
    operation_id="putJob",
    summary="Submit a job under an id that you choose",
    status_code=202,
    response_model=JobView,
    openapi_extra=JOB_BODY,
    responses={
        202: {"description": "The job is queued."},
        200: {"model": JobView, "description": "The job that an earlier, equal request submitted."},
        **CREATING_JOB,
    },
)
async def put_job(
    request: Request,
    gateway: GatewayState,
    caller: Submitter,
    job_id: str,
    prefer: Prefer = None,
    cancel_after: CancelAfter = None,
) -> Response:
    """Queue a job whose id has 1 to 64 letters, digits, `-` and `_`. It is safe to repeat the request (idempotent)."""
    return await submit_job(request, gateway, caller, JobHeaders(prefer, cancel_after), job_id)


@router.get(
    JOB_PATH,
    operation_id="getJob",
    summary="Read a job, or wait until it has finished",
    response_model=JobView,
    responses=QUERYING_JOB,
)
async def get_job(
    request: Request,
    gateway: GatewayState,
    caller: CurrentCaller,
    job_id: str,
    query: Annotated[WaitQuery, Query()],
    prefer: Prefer = None,
) -> Response:
    """The job as it is now. With `wait`, the answer comes once the job has finished, or after that many seconds."""
    preferred_s = None if query.wait else preferred_wait_s(prefer)
    if wait_s := query.wait or preferred_s:
        async with stopping_of(request.scope).interrupting():
            await gateway.jobs.wait(caller, job_id, wait_s)
    answer = await answer_poll(request, gateway, caller, job_id)
    if preferred_s:
        answer.headers["Preference-Applied"] = f"wait={preferred_s}"
    return answer


@router.post(
    "/v1/jobs/{job_id}/cancel",
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
            "description": "Events `status` (the job), `queue` (its place, whenever that changes), `rewrite`, "
            "`loading`, `progress`, `preview` and `note`, until the job has finished.",
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
    record, base = await gateway.jobs.find(caller, job_id), base_url(request, gateway)
    attention = Attention(gateway.place_feed, gateway.viewers)

    def render(record: JobRecord) -> str:
        return job_view(record, base).model_dump_json()

    return JobEvents(event_stream(gateway.watcher, record, after, render, attention), attention)
