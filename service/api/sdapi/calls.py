"""One call and its jobs: queued all or none, noted while they are waited for, canceled if the client goes away."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence

from starlette.requests import Request

from models.jobs.params import DrawRequest, JobRequest
from models.jobs.records import JobRecord, JobStatus
from service.api.errors import renamed_problems
from service.api.images import base_url
from service.api.sdapi.errors import failed_job
from service.api.sdapi.translation import wire_name
from service.api.state import Gateway
from service.api.waiting import wait_for_all
from service.backbone.callers import Call
from service.jobs.caller import Caller


async def draw_all(
    gateway: Gateway,
    request: Request,
    caller: Caller,
    wanted: DrawRequest,
    count: int,
    *,
    name: str,
    task_id: str | None,
) -> list[JobRecord]:
    """Have ``count`` images drawn as ``wanted``, of seeds each one above the last; gives their jobs once over.

    Args:
        name: what the call is shown as while it is under way; ``task_id`` is what its client calls it by.

    Raises:
        InvalidTicket: they cannot be done.
        QueueFull: too many jobs wait.
        ApiError: one of them failed.
        ClientGone: the client went away.
    """
    our_url = base_url(request, gateway)
    with renamed_problems(wire_name):
        queued = await gateway.jobs.submit_series(caller, wanted, count, our_url=our_url)
    return await _wait(gateway, request, caller, queued, name, task_id)


async def do_all(
    gateway: Gateway,
    request: Request,
    caller: Caller,
    wanted: Sequence[JobRequest],
    *,
    name: str,
    wire_names: Mapping[str, str],
) -> list[JobRecord]:
    """Have all of ``wanted`` done, whose fields clients call by ``wire_names``; else as :func:`draw_all`."""
    with renamed_problems(lambda field: wire_names.get(field, field)):
        queued = await gateway.jobs.submit_all(caller, wanted, our_url=base_url(request, gateway))
    return await _wait(gateway, request, caller, queued, name, None)


async def _wait(
    gateway: Gateway, request: Request, caller: Caller, queued: Sequence[JobRecord], name: str, task_id: str | None
) -> list[JobRecord]:
    job_ids = tuple(record.job_id for record in queued)
    made = f"task({name}-{secrets.token_hex(8)})"
    call = Call(task_id=task_id or made, name=name, job_ids=job_ids, started_at=time.time())
    try:
        await gateway.callers.begin(caller.key_id, call)
        records = await wait_for_all(gateway.jobs, caller, request, job_ids)
    finally:
        await asyncio.shield(gateway.callers.end(caller.key_id, call))
    for record in records:
        if record.status is JobStatus.FAILED:
            raise failed_job(record)
    return records
