"""The native routes that submit many jobs at once, and that say what a job would be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import Field

from models.errors import InvalidTicket, PhotogramError
from service.api.auth import Submitter
from service.api.bodies import parse_json, parsed, received_json, require_json_type, validated
from service.api.documentation import json_body
from service.api.errors import renamed_problems
from service.api.images import base_url
from service.api.job_bodies import parse_job
from service.api.native.errors import CREATING_JOB
from service.api.native.headers import CancelAfter, with_cancel_after
from service.api.native.openapi import JOB_BODY
from service.api.native.schemas import BatchItemView, BatchView, EstimateView
from service.api.native.translate import wire_name
from service.api.native.views import estimate_view, job_view, problem_view
from service.api.responses import JSON
from service.api.state import GatewayState
from service.api.validation import StrictBody
from service.backbone.admission import Accepted
from service.backbone.pieces import made_in_pieces
from service.jobs.batches import BATCH_MAX, BatchItem
from service.strict_json import JsonLimits

router = APIRouter(tags=["jobs"])

BATCH_LIMITS = JsonLimits(nodes=200_000, short_bytes=4 << 20)
"""A batch may have 4 MiB: 4 KiB for each of 1,000 jobs, whose images are uploaded before."""
_EXAMPLE = {"jobs": [{"kind": "txt2img", "params": {"prompt": "a cat"}, "tags": ["pets"]}], "partial": False}


class JobBatchBody(StrictBody):
    """Many jobs."""

    jobs: list[Any] = Field(
        min_length=1,
        max_length=BATCH_MAX,
        description="Each as the body of `POST /v1/jobs`; images by URL, `input:<sha256>` or `image:<id>`.",
        json_schema_extra={"items": {"$ref": "#/components/schemas/JobBody"}},
    )
    partial: bool = Field(False, description="Accept the jobs that can be, instead of all or none.")


OPENAPI_MODELS = (JobBatchBody,)


@router.post(
    "/v1/jobs/batch",
    operation_id="createJobs",
    summary="Submit many jobs",
    status_code=202,
    response_model=BatchView,
    openapi_extra=json_body(JobBatchBody, _EXAMPLE),
    responses={
        202: {"description": "Jobs are queued; with `partial`, `items` says which."},
        200: {"model": BatchView, "description": "Nothing new is queued: earlier jobs, or all were refused."},
        **CREATING_JOB,
    },
)
async def create_jobs(
    request: Request,
    gateway: GatewayState,
    caller: Submitter,
    idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)] = None,
) -> Response:
    """Queue up to 1,000 jobs in one transaction: all of them, or none. They count as one request.

    With `partial`, each job is accepted or refused by itself.
    """
    require_json_type(request.headers)
    data = await received_json(request, limits=BATCH_LIMITS)
    found, is_partial = await parsed(data, _read_batch)
    our_url = base_url(request, gateway)
    with renamed_problems(wire_name):
        items = [each for each in found if isinstance(each, BatchItem)]
        accepted = iter(
            await gateway.jobs.submit_batch(
                caller, items, our_url=our_url, idempotency_key=idempotency_key, is_partial=is_partial
            )
        )
    outcomes = [_renamed(next(accepted)) if isinstance(each, BatchItem) else each for each in found]
    status = 202 if any(isinstance(each, Accepted) and each.is_new for each in outcomes) else 200
    told = await made_in_pieces(lambda each: _item(each, our_url, request.state.request_id), outcomes)
    accepted_jobs = sum(isinstance(each, Accepted) for each in outcomes)
    return Response(_batch(accepted_jobs, told), status, media_type=JSON)


def _read_batch(data: bytes) -> tuple[list[BatchItem | InvalidTicket], bool]:
    """The jobs of a batch; a job that is not valid raises :class:`InvalidTicket`, unless the batch is partial."""
    body = validated(JobBatchBody, parse_json(data, BATCH_LIMITS))
    prefixes = ("" if body.partial else f"jobs[{index}]." for index in range(len(body.jobs)))
    found = [_read_item(document, prefix) for document, prefix in zip(body.jobs, prefixes, strict=True)]
    problems = [problem for each in found if isinstance(each, InvalidTicket) for problem in each.problems]
    if problems and not body.partial:
        raise InvalidTicket(problems)
    return found, body.partial


def _read_item(document: object, prefix: str) -> BatchItem | InvalidTicket:
    try:
        body = parse_job(document, prefix=prefix)
    except InvalidTicket as error:
        return error
    return BatchItem(body.to_request(), body.to_options(), body.to_webhook())


def _renamed(outcome: Accepted | PhotogramError) -> Accepted | PhotogramError:
    """The outcome with the names that native bodies have for fields."""
    if not isinstance(outcome, InvalidTicket):
        return outcome
    return InvalidTicket([problem.renamed(wire_name(problem.field)) for problem in outcome.problems])


def _item(outcome: Accepted | PhotogramError, our_url: str, request_id: str) -> str:
    """What became of one job, as JSON."""
    if isinstance(outcome, Accepted):
        return BatchItemView(job=job_view(outcome.record, our_url), error=None).model_dump_json()
    return BatchItemView(job=None, error=problem_view(outcome, request_id)).model_dump_json()


def _batch(accepted: int, items: Sequence[str]) -> str:
    """A :class:`BatchView` as JSON, from the JSON of its items, because encoding all of them at once takes long."""
    document = BatchView(accepted=accepted, refused=len(items) - accepted, items=[]).model_dump_json()
    return f"{document.removesuffix(']}')}{','.join(items)}]}}"


@router.post(
    "/v1/jobs/dry_run",
    operation_id="estimateJob",
    summary="Say what a job would be",
    openapi_extra=JOB_BODY,
    responses=CREATING_JOB,
)
async def estimate_job(
    request: Request, gateway: GatewayState, caller: Submitter, cancel_after: CancelAfter = None
) -> EstimateView:
    """The effective parameters and the cost of a job, and why it would be refused now. No job is made.

    A request that is not valid is refused as `POST /v1/jobs` refuses it. The request counts among the requests per
    minute of the API key.
    """
    require_json_type(request.headers)
    data = await received_json(request, has_images=True)
    body = await parsed(data, lambda data: parse_job(parse_json(data)))
    options = with_cancel_after(body.to_options(), cancel_after)
    with renamed_problems(wire_name):
        found = await gateway.jobs.estimate(
            caller,
            body.to_request(),
            our_url=base_url(request, gateway),
            webhook=body.to_webhook(),
            options=options,
        )
    return estimate_view(body.kind, found, request.state.request_id)
