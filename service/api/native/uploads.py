"""The route that uploads an image, so that several jobs can start from it without sending it again."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from models.errors import ProblemCode
from models.media.images import MEDIA_TYPES
from service.api.auth import Submitter
from service.api.errors import ApiError, ErrorCode, invalid_field
from service.api.native.errors import UPLOADING
from service.api.state import GatewayState
from service.jobs.errors import ImageRefused

router = APIRouter(tags=["jobs"])

_BYTES = "application/octet-stream"
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            name: {"schema": {"type": "string", "format": "binary"}} for name in (*MEDIA_TYPES.values(), _BYTES)
        },
    }
}


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
    openapi_extra=_BODY,
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


async def read_image(request: Request, max_bytes: int) -> bytes:
    """The body of a request that sends an image as such.

    Raises:
        ApiError: it has another media type, or is too large.
    """
    if not request.headers.get("content-type", _BYTES).strip().lower().startswith(("image/", _BYTES)):
        raise ApiError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"the body must be an image, sent as image/png or {_BYTES}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise ApiError(ErrorCode.BODY_TOO_LARGE, f"an image may have at most {max_bytes} bytes")
    return bytes(body)
