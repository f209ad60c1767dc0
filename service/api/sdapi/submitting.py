"""Submitting the jobs of one call, all or none, and waiting for them; the call is registered while it waits."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from starlette.requests import Request

from models.jobs.params import DrawRequest, JobRequest
from models.jobs.records import JobRecord, JobStatus
from service.api.errors import renamed_problems
from service.api.images import base_url
from service.api.sdapi.errors import failed_job
from service.api.sdapi.translate import wire_name
from service.api.state import Gateway
from service.api.waiting import wait_for_all
from service.backbone.callers import Call
from service.jobs.caller import Caller


async def run_series(
    gateway: Gateway,
    request: Request,
    caller: Caller,
    job_request: DrawRequest,
    count: int,
    *,
    name: str,
    task_id: str | None,
) -> list[JobRecord]:
    """Submit ``count`` jobs with consecutive seeds, and wait until all have finished.

    Args:
        name: the name of the call in answers about progress.
        task_id: the id that the client gave to the call, if any.

    Raises:
        InvalidTicket: the server cannot process such a job.
        QueueFull: too many jobs are queued.
        ApiError: a job failed.
        ClientGone: the client disconnected; the jobs are cancelled.
    """
    our_url = base_url(request, gateway)
    with renamed_problems(wire_name):
        queued = await gateway.jobs.submit_series(caller, job_request, count, our_url=our_url)
    return await _wait(gateway, request, caller, queued, name, task_id, wire_name)


async def run_all(
    gateway: Gateway,
    request: Request,
    caller: Caller,
    job_requests: Sequence[JobRequest],
    *,
    name: str,
    wire_names: Mapping[str, str],
) -> list[JobRecord]:
    """Submit one job for each of ``job_requests``, and wait; arguments and errors are those of :func:`run_series`.

    Args:
        wire_names: the names of fields in A1111's body, by parameter.
    """

    def renamed(field: str) -> str:
        return wire_names.get(field, field)

    with renamed_problems(renamed):
        queued = await gateway.jobs.submit_all(caller, job_requests, our_url=base_url(request, gateway))
    return await _wait(gateway, request, caller, queued, name, None, renamed)


async def _wait(
    gateway: Gateway,
    request: Request,
    caller: Caller,
    queued: Sequence[JobRecord],
    name: str,
    task_id: str | None,
    renamed: Callable[[str], str],
) -> list[JobRecord]:
    job_ids = tuple(record.job_id for record in queued)
    default_id = f"task({name}-{secrets.token_hex(8)})"
    call_state = Call(task_id=task_id or default_id, name=name, job_ids=job_ids, started_at=time.time())
    try:
        await gateway.callers.begin(caller.key_id, call_state)
        # Also without polls for progress: an interrupted call returns the last preview of each image.
        async with gateway.viewers.watching(job_ids):
            records = await wait_for_all(gateway.jobs, caller, request, job_ids)
    finally:
        await asyncio.shield(gateway.callers.end(caller.key_id, call_state))
    for record in records:
        if record.status is JobStatus.FAILED:
            raise failed_job(record, renamed)
    return records
