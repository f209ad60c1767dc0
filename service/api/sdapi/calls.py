"""One call and its jobs: queued all or none, noted while they are waited for, canceled if the client goes away."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence

from starlette.requests import Request

from models.jobs.params import DrawRequest, JobRequest
from models.jobs.records import JobRecord, JobStatus
from service.api.images import base_url
from service.api.sdapi.errors import failed_job
from service.api.sdapi.translation import wire_name
from service.api.state import Gateway
from service.backbone.callers import Call
from service.jobs.series import submit_all, submit_series
from service.jobs.waiting import wait_for_all


async def draw_all(
    gateway: Gateway, request: Request, owner: str, wanted: DrawRequest, count: int, *, name: str, task_id: str | None
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
    queued = await submit_series(gateway, owner, wanted, count, wire_name=wire_name, our_url=our_url)
    return await _wait(gateway, request, owner, queued, name, task_id)


async def do_all(
    gateway: Gateway,
    request: Request,
    owner: str,
    wanted: Sequence[JobRequest],
    *,
    name: str,
    wire_names: Mapping[str, str],
) -> list[JobRecord]:
    """Have all of ``wanted`` done, whose fields clients call by ``wire_names``; else as :func:`draw_all`."""
    queued = await submit_all(
        gateway,
        owner,
        wanted,
        wire_name=lambda field: wire_names.get(field, field),
        our_url=base_url(request, gateway),
    )
    return await _wait(gateway, request, owner, queued, name, None)


async def _wait(
    gateway: Gateway, request: Request, owner: str, queued: Sequence[JobRecord], name: str, task_id: str | None
) -> list[JobRecord]:
    job_ids = tuple(record.job_id for record in queued)
    made = f"task({name}-{secrets.token_hex(8)})"
    call = Call(task_id=task_id or made, name=name, job_ids=job_ids, started_at=time.time())
    try:
        await gateway.callers.begin(owner, call)
        records = await wait_for_all(gateway, request, job_ids)
    finally:
        await asyncio.shield(gateway.callers.end(owner, call))
    for record in records:
        if record.status is JobStatus.FAILED:
            raise failed_job(record)
    return records
