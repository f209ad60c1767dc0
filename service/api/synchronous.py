"""Calls that answer with the picture itself: wait for the jobs, and cancel them if the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from models.errors import PhotogramError
from models.job import JobRecord
from service.api.state import Gateway

_LOOK_S = 0.5
"""How often a waiting call looks whether its client is still there."""


class ClientGone(PhotogramError):
    """The client closed the connection; whatever is answered now, nobody reads."""


async def wait_for_all(gateway: Gateway, request: Request, job_ids: Sequence[str]) -> list[JobRecord]:
    """The records of all jobs once they are over, in the same order.

    Raises:
        ClientGone: the client went away first; those jobs that were not over are canceled.
    """
    try:
        return [await _wait(gateway, request, job_id) for job_id in job_ids]
    except (ClientGone, asyncio.CancelledError):
        for job_id in job_ids:
            await asyncio.shield(gateway.watcher.cancel(job_id))
        raise


async def _wait(gateway: Gateway, request: Request, job_id: str) -> JobRecord:
    while True:
        record = await gateway.watcher.wait(job_id, _LOOK_S)
        if record is not None and record.status.is_terminal:
            return record
        if await request.is_disconnected():
            raise ClientGone(job_id)


async def read_pictures(gateway: Gateway, record: JobRecord) -> list[bytes]:
    """The job's finished pictures as the PNG files that they are stored as.

    Raises:
        FileNotFoundError: a picture was removed in the meantime.
    """
    paths = [gateway.store.path(image.image_id) for image in record.images]
    return [await run_in_threadpool(_read, path) for path in paths]


def _read(path: Path | None) -> bytes:
    if path is None:
        raise FileNotFoundError("the picture is not there any more")
    return path.read_bytes()
