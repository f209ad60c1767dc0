"""The files that jobs made, for the key that submitted the job."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from service.api.auth import CurrentCaller
from service.api.documentation import problems
from service.api.errors import ErrorCode
from service.api.state import GatewayState
from service.jobs.errors import FileGone

router = APIRouter(tags=["jobs"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, with its own media type.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    **problems(
        ErrorCode.UNAUTHORIZED,
        ErrorCode.JOB_NOT_FOUND,
        ErrorCode.FILE_NOT_FOUND,
        ErrorCode.INVALID_PARAMS,
        ErrorCode.LEDGER_UNAVAILABLE,
        ErrorCode.INTERNAL_ERROR,
    ),
}


@router.get(
    "/v1/jobs/{job_id}/files/{index}",
    operation_id="getJobFile",
    summary="Download a file of a job",
    response_class=FileResponse,
    responses=_RESPONSES,
)
async def get_job_file(gateway: GatewayState, caller: CurrentCaller, job_id: str, index: int) -> FileResponse:
    """The file at `index`, counted from 0 in the order of `result.files`. It is always sent as an attachment."""
    record = await gateway.jobs.find(caller, job_id)
    if not 0 <= index < len(record.files):
        raise FileGone(f"the job has {len(record.files)} files")
    file = record.files[index]
    path = await run_in_threadpool(gateway.jobs.file_path, file)
    # A browser must not run what a job made: nosniff and attachment keep it from guessing another type and showing it.
    return FileResponse(
        path, media_type=file.media_type, filename=file.name, headers={"X-Content-Type-Options": "nosniff"}
    )
