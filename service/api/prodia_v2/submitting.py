"""Submitting the job of one call: its config is translated and its images are stored before it is queued."""

from __future__ import annotations

from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from models.errors import InvalidTicket, ProblemCode
from models.jobs.kinds import DIFFUSION_QUEUE
from models.jobs.params import JobRequest
from models.jobs.records import JobRecord
from service.api.errors import ErrorCode, invalid_field, renamed_problems, unavailable
from service.api.images import base_url
from service.api.prodia_v2.errors import with_bound
from service.api.prodia_v2.form_images import FormImages
from service.api.prodia_v2.job_types import JobType
from service.api.prodia_v2.parsing import Submission
from service.api.prodia_v2.response_format import ResponseFormat
from service.api.prodia_v2.translate import config_class, to_request, wire_name
from service.api.prodia_v2.views import RequestEcho
from service.api.state import Gateway
from service.jobs.caller import Caller
from service.jobs.errors import ImageRefused


async def require_workers(gateway: Gateway) -> None:
    """Refuse a job that no worker could process; raises :class:`ApiError`."""
    counts = await gateway.queues.count([DIFFUSION_QUEUE])
    if not counts[DIFFUSION_QUEUE].workers:
        raise unavailable(ErrorCode.NO_WORKERS, "no capacity: there is no worker; try again soon")


async def submit(
    request: Request,
    gateway: Gateway,
    caller: Caller,
    job_type: JobType,
    submission: Submission,
    response_format: ResponseFormat,
    *,
    is_leased: bool = False,
) -> JobRecord:
    """Queue the job of ``submission``.

    Args:
        is_leased: whether the job ends with its caller.

    Raises:
        ApiError: no worker is alive.
        InvalidTicket: the server cannot process such a job.
        QueueFull: too many jobs are queued.
    """
    config = config_class(job_type)
    echo = RequestEcho(
        type=job_type.name,
        config=config.echo(submission.config),
        media_type=response_format.image.media_type,
        warnings=(*submission.warnings, *config.warnings(submission.config)),
    )
    await require_workers(gateway)
    job_request = await run_in_threadpool(_job_request, gateway, job_type, submission)
    try:
        with renamed_problems(wire_name):
            accepted = await gateway.jobs.submit(
                caller, job_request, our_url=base_url(request, gateway), echo=echo.to_payload(), is_leased=is_leased
            )
    except InvalidTicket as error:
        raise InvalidTicket([with_bound(problem, submission.config) for problem in error.problems]) from error
    return accepted.record


def _job_request(gateway: Gateway, job_type: JobType, submission: Submission) -> JobRequest:
    images = FormImages(submission.images, partial(_store, gateway))
    return to_request(job_type, submission.config, gateway.catalog.current(), images)


def _store(gateway: Gateway, data: bytes) -> str:
    try:
        return gateway.jobs.store_image(data).source
    except ImageRefused as error:
        raise invalid_field("input", str(error), ProblemCode.MALFORMED) from error
