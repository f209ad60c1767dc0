"""The routes that upload an image or an archive, so that jobs can start from it without sending it again."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from models.errors import ProblemCode
from models.media.archives import ZIP_TYPES
from models.media.images import MEDIA_TYPES
from service.api.auth import Submitter
from service.api.errors import ApiError, ErrorCode, invalid_field
from service.api.native.errors import UPLOADING
from service.api.state import GatewayState
from service.jobs.errors import ImageRefused

router = APIRouter(tags=["jobs"])

_BYTES = "application/octet-stream"


def _body(*media_types: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {"requestBody": {"required": True, "content": {name: {"schema": schema} for name in media_types}}}


class InputView(BaseModel):
    """An uploaded image."""

    source: str = Field(description="The name of the image in jobs: `input:<sha256>`.")
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")


@router.post(
    "/v1/inputs",
    operation_id="createInput",
    summary="Upload an image",
    status_code=201,
    openapi_extra=_body(*MEDIA_TYPES.values(), _BYTES),
    responses=UPLOADING,
)
async def create_input(request: Request, gateway: GatewayState, caller: Submitter) -> InputView:
    """Store the image in the body. It is kept after its last use for as long as finished jobs are kept."""
    data = await read_image(request, gateway.settings.max_input_bytes)
    try:
        stored = await run_in_threadpool(gateway.jobs.store_image, data)
    except ImageRefused as error:
        raise invalid_field("body", str(error), ProblemCode.MALFORMED) from error
    return InputView(source=stored.source, width=stored.width, height=stored.height)


class ArchiveView(BaseModel):
    """An uploaded zip archive."""

    source: str = Field(description="The name of the archive in jobs: `input:<sha256>`.")
    files: int = Field(description="How many files it has.")
    unpacked_bytes: int = Field(description="What they have together when they are unpacked.")


@router.post(
    "/v1/archives",
    operation_id="createArchive",
    summary="Upload a zip archive",
    status_code=201,
    openapi_extra=_body(*ZIP_TYPES, _BYTES),
    responses=UPLOADING,
)
async def create_archive(request: Request, gateway: GatewayState, caller: Submitter) -> ArchiveView:
    """Store the zip archive in the body, the data set of a job. It is kept as an uploaded image is.

    It is refused if an entry is a link, encrypted or larger than 64 MiB, if a path leads out of the archive, or if it
    has more than 50,000 files or 4 GiB when it is unpacked.
    """
    _require_type(request, ZIP_TYPES, f"a zip archive, sent as {ZIP_TYPES[0]}")
    data = await request.body()
    try:
        stored = await run_in_threadpool(gateway.jobs.store_archive, data)
    except ImageRefused as error:
        raise invalid_field("body", str(error), ProblemCode.MALFORMED) from error
    return ArchiveView(source=stored.source, files=stored.files, unpacked_bytes=stored.unpacked_bytes)


async def read_image(request: Request, max_bytes: int) -> bytes:
    """The body of a request that sends an image as such.

    Raises:
        ApiError: it has another media type, or is too large.
    """
    _require_type(request, ("image/",), f"an image, sent as image/png or {_BYTES}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise ApiError(ErrorCode.BODY_TOO_LARGE, f"an image may have at most {max_bytes} bytes")
    return bytes(body)


def _require_type(request: Request, beginnings: tuple[str, ...], wanted: str) -> None:
    """Raise :class:`ApiError` for a media type that has none of ``beginnings`` and is not that of any bytes."""
    if not request.headers.get("content-type", _BYTES).strip().lower().startswith((*beginnings, _BYTES)):
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"the body must be {wanted}")
