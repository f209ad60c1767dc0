"""Calls that answer with the image itself: wait for the jobs, and cancel them if the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from models.errors import PhotogramError
from models.jobs.records import JobRecord
from service.api.errors import ApiError, ErrorCode
from service.api.state import Gateway

_LOOK_S = 0.5
"""How often a waiting call looks whether its client is still there."""


class ClientGone(PhotogramError, ClientDisconnect):
    """The client closed the connection: there is nobody to answer, so routes let this through."""


async def wait_for_all(gateway: Gateway, request: Request, job_ids: Sequence[str]) -> list[JobRecord]:
    """The records of all jobs once they are over, in the same order.

    Raises:
        ClientGone: the client went away first; those jobs that were not over are canceled.
        ApiError: the ledger has lost a job; the others are canceled.
    """
    try:
        return [await _wait(gateway, request, job_id) for job_id in job_ids]
    except (ClientGone, ApiError, asyncio.CancelledError):
        await asyncio.shield(_cancel_all(gateway, job_ids))
        raise


async def _cancel_all(gateway: Gateway, job_ids: Sequence[str]) -> None:
    for job_id in job_ids:
        await gateway.watcher.cancel(job_id)


async def _wait(gateway: Gateway, request: Request, job_id: str) -> JobRecord:
    while True:
        record = await gateway.watcher.wait(job_id, _LOOK_S)
        if record is None:
            raise ApiError(ErrorCode.JOB_NOT_FOUND, "the job's record is gone")
        if record.status.is_terminal:
            return record
        if await request.is_disconnected():
            raise ClientGone(job_id)


async def read_images(gateway: Gateway, record: JobRecord) -> list[bytes]:
    """The job's finished images as the PNG files that they are stored as.

    Raises:
        ApiError: an image was removed in the meantime.
    """
    paths = [gateway.store.path(image.image_id) for image in record.images]
    return [await run_in_threadpool(_read, path) for path in paths]


def _read(path: Path | None) -> bytes:
    try:
        if path is not None:
            return path.read_bytes()
    except FileNotFoundError:
        pass
    raise ApiError(ErrorCode.IMAGE_NOT_FOUND, "the image is not there any more")
