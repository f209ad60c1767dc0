"""Finished images as files; the links need no API key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from models.jobs.kinds import ResultForm, find_kind
from models.jobs.records import JobRecord
from service.api.documentation import problems
from service.api.errors import ApiError, ErrorCode
from service.api.etags import is_known
from service.api.formats import JPEG, WEBP, ImageFormat
from service.api.proxies import requested_base
from service.api.state import Gateway, GatewayState
from service.api.stored_files import StoredFile
from service.backbone.objects.protocol import StoredObject
from service.jobs.errors import JobNotFound

_LINK_S = 600
"""How long a presigned link works; the redirection to it may be cached for half of that time."""
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
    307: {"description": "The image is at the link in `Location`; only if the server redirects to its storage."},
    **_NOT_FOUND,
}


@router.get(
    "/images/{image_id}.png",
    operation_id="getImage",
    summary="Download an image",
    response_class=FileResponse,
    responses=_DOCUMENTED,
)
@router.head(
    "/images/{image_id}.png",
    operation_id="headImage",
    summary="Check whether an image exists",
    response_class=FileResponse,
    responses=_DOCUMENTED,
)
async def get_image(
    request: Request,
    gateway: GatewayState,
    image_id: str,
    download: str | None = None,
    if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response:
    """The image as a PNG file, which never changes. With `?download=1`, browsers save the file. Needs no API key."""
    stored = await gateway.reads.run(_find, gateway, image_id)
    headers = {"ETag": f'"{image_id}"', "Cache-Control": _FOREVER}
    if is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    if request.method == "GET" and download != "1" and (link := _link(gateway, stored)) is not None:
        return RedirectResponse(link, 307, {"Cache-Control": f"public, max-age={_LINK_S // 2}"})
    name = f"{image_id}.png" if download == "1" else None
    return StoredFile(stored, gateway.reads, headers=headers, media_type="image/png", filename=name)


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
    stored = await gateway.reads.run(_find, gateway, image_id)
    try:
        data = await gateway.conversions.of(image_id, stored, target)
    except FileNotFoundError as error:  # it was removed this moment
        raise _not_found() from error
    return Response(data, media_type=target.media_type)


def _link(gateway: Gateway, stored: StoredObject) -> str | None:
    """The presigned link to redirect to, if the settings want it and the store has links; nothing is sent for it."""
    return stored.link(_LINK_S) if gateway.settings.storage_downloads == "redirect" else None


def _find(gateway: Gateway, image_id: str) -> StoredObject:
    stored = gateway.stores.images.find(image_id)
    if stored is None:
        raise _not_found()
    return stored


def _not_found() -> ApiError:
    return ApiError(ErrorCode.IMAGE_NOT_FOUND, "there is no such image, or it is not finished yet")
