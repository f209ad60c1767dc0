"""Waiting for jobs, for routes that answer with the image itself; the jobs are cancelled if the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from redis.exceptions import RedisError
from starlette.requests import ClientDisconnect, Request

from models.errors import PhotogramError
from models.jobs.records import JobRecord
from service.api.state import Gateway
from service.api.stopping import stopping_of
from service.jobs.caller import Caller
from service.jobs.service import JobService

POLL_S = 0.5
"""How often a waiting call checks whether its client is still connected."""


class ClientGone(PhotogramError, ClientDisconnect):
    """The client disconnected, so that no response is needed; routes do not catch this error."""


async def wait_for_all(jobs: JobService, caller: Caller, request: Request, job_ids: Sequence[str]) -> list[JobRecord]:
    """The records of all jobs once they are over, in the same order; the jobs end with the wait, however it ends.

    Raises:
        ClientGone: the client disconnected.
        JobNotFound: a record expired.
        GatewayStops: the gateway stops.
    """
    async with ending_with_caller(request.state.gateway, job_ids), stopping_of(request.scope).interrupting():
        return [await _wait(jobs, caller, request, job_id) for job_id in job_ids]


@asynccontextmanager
async def ending_with_caller(gateway: Gateway, job_ids: Sequence[str]) -> AsyncIterator[None]:
    """Renew the leases of the jobs during the block, and cancel those that are unfinished after it."""
    try:
        async with gateway.leases.renewing(job_ids):
            yield
    except BaseException:
        with suppress(RedisError):  # then the leases expire, and a worker cancels the jobs
            await asyncio.shield(gateway.jobs.abandon(job_ids))
        raise


async def _wait(jobs: JobService, caller: Caller, request: Request, job_id: str) -> JobRecord:
    while True:
        record = await jobs.wait(caller, job_id, POLL_S)
        if record.status.is_terminal:
            return record
        if await request.is_disconnected():
            raise ClientGone(job_id)
