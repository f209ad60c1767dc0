"""Waiting for jobs, for routes that answer with the image itself; the jobs are cancelled if the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import ClientDisconnect, Request

from models.errors import PhotogramError
from models.jobs.records import JobRecord
from service.jobs.caller import Caller
from service.jobs.errors import JobNotFound
from service.jobs.service import JobService

POLL_S = 0.5
"""How often a waiting call checks whether its client is still connected."""


class ClientGone(PhotogramError, ClientDisconnect):
    """The client disconnected, so that no response is needed; routes do not catch this error."""


async def wait_for_all(jobs: JobService, caller: Caller, request: Request, job_ids: Sequence[str]) -> list[JobRecord]:
    """The records of all jobs once they are over, in the same order.

    Raises:
        ClientGone: the client disconnected; its unfinished jobs are cancelled.
        JobNotFound: a record expired; the other jobs are cancelled.
    """
    try:
        return [await _wait(jobs, caller, request, job_id) for job_id in job_ids]
    except (ClientGone, JobNotFound, asyncio.CancelledError):
        await asyncio.shield(jobs.abandon(job_ids))
        raise


async def _wait(jobs: JobService, caller: Caller, request: Request, job_id: str) -> JobRecord:
    while True:
        record = await jobs.wait(caller, job_id, POLL_S)
        if record.status.is_terminal:
            return record
        if await request.is_disconnected():
            raise ClientGone(job_id)
