"""Finished images as files; the links need no API key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from starlette.concurrency import run_in_threadpool

from models.jobs.kinds import ResultForm, find_kind
from models.jobs.records import JobRecord
from service.api.documentation import problems
from service.api.errors import ApiError, ErrorCode
from service.api.etags import is_known
from service.api.formats import JPEG, WEBP, ImageFormat
from service.api.proxies import requested_base
from service.api.state import Gateway, GatewayState
from service.api.stored_files import StoredFile
from service.jobs.errors import JobNotFound

_FOREVER = "public, max-age=31536000, immutable"

router = APIRouter(tags=["images"])


def base_url(request: Request, gateway: Gateway) -> str:
    """The start of absolute links, without a final slash: ``PHOTOGRAM_PUBLIC_URL``, else the requested host."""
    return gateway.settings.public_url or requested_base(request.scope)


def image_job(record: JobRecord) -> JobRecord:
    """``record``, for dialects that know only jobs with images.

    Raises:
        JobNotFound: jobs of this kind have another result.
    """
    if find_kind(record.kind).result is not ResultForm.IMAGES:
        raise JobNotFound("there is no such job here; GET /v1/jobs/{id} reads jobs of every kind")
    return record


def image_url(base: str, image_id: str) -> str:
    """The link to a finished image; ``base`` is what :func:`base_url` returned."""
    return f"{base}/images/{image_id}.png"


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_NOT_FOUND = problems(ErrorCode.IMAGE_NOT_FOUND)
_DOCUMENTED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The image.", "content": {"image/png": _BINARY}},
    304: {"description": "The client has the image already."},
    **_NOT_FOUND,
}


@router.get(
    "/images/{image_id}.png",
    operation_id="getImage",
    summary="Download an image",
    response_class=StoredFile,
    responses=_DOCUMENTED,
)
@router.head(
    "/images/{image_id}.png",
    operation_id="headImage",
    summary="Check whether an image exists",
    response_class=StoredFile,
    responses=_DOCUMENTED,
)
def get_image(
    gateway: GatewayState,
    image_id: str,
    download: str | None = None,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response:
    """The image as a PNG file, which never changes. With `?download=1`, browsers save the file. Needs no API key."""
    path = _find(gateway, image_id)
    headers = {"ETag": f'"{image_id}"', "Cache-Control": _FOREVER}
    if is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    name = f"{image_id}.png" if download == "1" else None
    return StoredFile(path, headers=headers, media_type="image/png", filename=name)


@router.get(
    "/images/{image_id}.jpg",
    operation_id="getImageAsJpeg",
    summary="Download an image as JPEG",
    responses={200: {"content": {JPEG.media_type: _BINARY}}, **_NOT_FOUND},
    response_class=Response,
)
async def get_jpeg(gateway: GatewayState, image_id: str) -> Response:
    """The image as a JPEG file with its parameters in the EXIF data. Needs no API key."""
    return await _converted(gateway, image_id, JPEG)


@router.get(
    "/images/{image_id}.webp",
    operation_id="getImageAsWebp",
    summary="Download an image as WebP",
    responses={200: {"content": {WEBP.media_type: _BINARY}}, **_NOT_FOUND},
    response_class=Response,
)
async def get_webp(gateway: GatewayState, image_id: str) -> Response:
    """The image as a WebP file with its parameters in the EXIF data. Needs no API key."""
    return await _converted(gateway, image_id, WEBP)


async def _converted(gateway: Gateway, image_id: str, target: ImageFormat) -> Response:
    path = await run_in_threadpool(_find, gateway, image_id)
    data = await gateway.conversions.of(image_id, path, target)
    return Response(data, media_type=target.media_type)


def _find(gateway: Gateway, image_id: str) -> Path:
    path = gateway.store.path(image_id)
    if path is None:
        raise ApiError(ErrorCode.IMAGE_NOT_FOUND, "there is no such image, or it is not finished yet")
    return path
