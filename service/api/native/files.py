"""The route that downloads a file that a job made."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import FileResponse
from pydantic import BeforeValidator

from service.api.auth import CurrentCaller
from service.api.etags import is_known
from service.api.native.errors import READING_FILE
from service.api.state import GatewayState
from service.api.stored_files import StoredFile
from service.jobs.errors import FileGone

router = APIRouter(tags=["jobs"])

_INDEX = re.compile(r"-?(0|[1-9][0-9]{0,8})")
"""Each file has one spelling of its address: no plus sign, no leading zero, no digits of other scripts."""


def _index(text: str) -> int:
    if not _INDEX.fullmatch(text):
        raise ValueError("must be a whole number of at most 9 digits, without leading zeros")
    return int(text)


FileIndex = Annotated[int, BeforeValidator(_index), Path()]

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, with its own media type.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The client has the file already."},
    **READING_FILE,
}


@router.get(
    "/v1/jobs/{job_id}/files/{index}",
    operation_id="getJobFile",
    summary="Download a file of a job",
    response_class=FileResponse,
    responses=_RESPONSES,
)
@router.head(
    "/v1/jobs/{job_id}/files/{index}",
    operation_id="headJobFile",
    summary="Check whether a file of a job exists",
    response_class=FileResponse,
    responses=_RESPONSES,
)
async def get_job_file(
    gateway: GatewayState,
    caller: CurrentCaller,
    job_id: str,
    index: FileIndex,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response:
    """The file at `index`, counted from 0 in the order of `result.files`. It is always sent as an attachment.

    The file never changes. `Range` requests a part of it.
    """
    record = await gateway.jobs.find(caller, job_id)
    if not 0 <= index < len(record.files):
        raise FileGone(f"the job has {len(record.files)} files")
    file = record.files[index]
    stored = await gateway.reads.run(gateway.jobs.find_file, file)
    etag = f'"{file.file_id}"'
    if is_known(etag, if_none_match):
        return Response(status_code=304, headers={"ETag": etag})
    # A browser must not run the file as a page: "attachment" saves it, and "nosniff" forbids guessing another type.
    headers = {"X-Content-Type-Options": "nosniff", "ETag": etag, "Cache-Control": "private, no-cache"}
    return StoredFile(stored, gateway.reads, media_type=file.media_type, filename=file.name, headers=headers)
