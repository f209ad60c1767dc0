"""The routes of Prodia's API v1 that submit and read jobs, also at the paths that older clients use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.concurrency import run_in_threadpool

from service.api.auth import CurrentCaller, Submitter
from service.api.bodies import read_body
from service.api.documentation import json_body, problems
from service.api.errors import ErrorCode, renamed_problems
from service.api.images import base_url, get_image, image_job
from service.api.prodia_v1.errors import responses
from service.api.prodia_v1.schemas import (
    ProdiaBody,
    ProdiaControlNetBody,
    ProdiaFaceRestoreBody,
    ProdiaFaceSwapBody,
    ProdiaGenerateBody,
    ProdiaInpaintingBody,
    ProdiaJob,
    ProdiaPhotoMakerBody,
    ProdiaTransformBody,
    ProdiaUpscaleBody,
)
from service.api.prodia_v1.translate import to_request, wire_name
from service.api.prodia_v1.views import known_job, new_job
from service.api.state import GatewayState

_IMAGE = "https://example.com/image.png"
_GENERATE = {"prompt": "puppies in a cloud, 4k", "steps": 20, "cfg_scale": 7, "seed": -1, "sampler": "DPM++ 2M Karras"}
_TRANSFORM = {"imageUrl": _IMAGE, "denoising_strength": 0.7, **_GENERATE}
_INPAINTING = {
    **_TRANSFORM, "maskUrl": "https://example.com/mask.png", "mask_blur": 4, "inpainting_fill": 1,
    "inpainting_mask_invert": 0, "inpainting_full_res": False,
}  # fmt: skip
_CONTROLNET = {
    **_GENERATE, "imageUrl": _IMAGE, "controlnet_model": "control_v11p_sd15_canny [d14c016b]",
    "controlnet_module": "canny", "control_mode": 0, "threshold_a": 100, "threshold_b": 200, "resize_mode": 1,
}  # fmt: skip
_UPSCALE = {"imageUrl": _IMAGE, "resize": 2, "model": "Lanczos"}
_FACE = {"imageUrl": _IMAGE}
_FACESWAP = {"sourceUrl": _IMAGE, "targetUrl": _IMAGE}
_PHOTOMAKER = {"imageUrls": [_IMAGE], "prompt": "man img wearing a hat", "strength": 20}

CREATING = (
    ErrorCode.INVALID_PARAMS, ErrorCode.STORAGE_UNAVAILABLE, ErrorCode.QUEUE_FULL, ErrorCode.INTERNAL_ERROR,
)  # fmt: skip
"""The errors of submitting a job, with and without an API key."""
_WITH_A_KEY = (
    ErrorCode.UNAUTHORIZED, ErrorCode.QUOTA_EXCEEDED, ErrorCode.MISSING_SCOPE, ErrorCode.BODY_TOO_LARGE,
    ErrorCode.RATE_LIMITED,
)  # fmt: skip
"""The further errors of submitting a job with an API key."""
READING = (ErrorCode.JOB_NOT_FOUND, ErrorCode.LEDGER_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)

router = APIRouter(tags=["prodia v1"])


@dataclass(frozen=True)
class Operation:
    """A route that submits a job; the first path is Prodia's current one, the others are deprecated."""

    name: str
    summary: str
    body: type[ProdiaBody]
    example: dict[str, Any]
    paths: tuple[str, ...]
    is_sdxl: bool = False


OPERATIONS = (
    Operation(
        "Generate", "Generate an image", ProdiaGenerateBody, _GENERATE,
        ("/v1/sd/generate", "/v1/job", "/v1"),
    ),
    Operation(
        "Transform", "Change an image (img2img)", ProdiaTransformBody, _TRANSFORM,
        ("/v1/sd/transform", "/v1/transform"),
    ),
    Operation(
        "Inpainting", "Change a part of an image (inpainting)", ProdiaInpaintingBody, _INPAINTING,
        ("/v1/sd/inpainting", "/v1/sd/inpaint"),
    ),
    Operation(
        "Controlnet", "Generate an image with a ControlNet", ProdiaControlNetBody, _CONTROLNET,
        ("/v1/sd/controlnet", "/v1/controlnet"),
    ),
    Operation(
        "SdxlGenerate", "Generate an image with SDXL", ProdiaGenerateBody, _GENERATE,
        ("/v1/sdxl/generate",), is_sdxl=True,
    ),
    Operation(
        "SdxlTransform", "Change an image with SDXL (img2img)", ProdiaTransformBody, _TRANSFORM,
        ("/v1/sdxl/transform",), is_sdxl=True,
    ),
    Operation(
        "SdxlInpainting", "Change a part of an image with SDXL (inpainting)", ProdiaInpaintingBody, _INPAINTING,
        ("/v1/sdxl/inpainting", "/v1/sdxl/inpaint"), is_sdxl=True,
    ),
    Operation("Upscale", "Enlarge an image", ProdiaUpscaleBody, _UPSCALE, ("/v1/upscale",)),
    Operation("FaceSwap", "Swap a face: refused", ProdiaFaceSwapBody, _FACESWAP, ("/v1/faceswap",)),
    Operation("FaceRestore", "Restore the faces in an image", ProdiaFaceRestoreBody, _FACE, ("/v1/facerestore",)),
    Operation("PhotoMaker", "Generate a person: refused", ProdiaPhotoMakerBody, _PHOTOMAKER, ("/v1/photomaker",)),
)  # fmt: skip


def _creating(operation: Operation) -> Callable[..., Awaitable[JSONResponse]]:
    async def create(request: Request, gateway: GatewayState, caller: Submitter) -> JSONResponse:
        body = await read_body(request, operation.body, has_images="imageData" in operation.body.model_fields)
        # In a thread: the body may hold images of many megabytes.
        catalog, is_sdxl = gateway.catalog.current(), operation.is_sdxl
        job_request = await run_in_threadpool(to_request, body, catalog, is_sdxl=is_sdxl)
        our_url = base_url(request, gateway)
        with renamed_problems(wire_name):
            accepted = await gateway.jobs.submit(caller, job_request, our_url=our_url)
        return new_job(accepted.record)

    return create


def _add(operation: Operation) -> None:
    create = _creating(operation)
    for age, path in enumerate(operation.paths):
        router.add_api_route(
            path,
            create,
            methods=["POST"],
            operation_id=f"prodia{operation.name}" + (f"ByOldName{age}" if age else ""),
            summary=operation.summary,
            description="Queue a job. If it is refused, the header `X-Photogram-Reason` says why.",
            response_model=ProdiaJob,
            deprecated=True if age else None,
            openapi_extra=json_body(operation.body, operation.example),
            responses=responses(*_WITH_A_KEY, *CREATING),
        )


for _operation in OPERATIONS:
    _add(_operation)


@router.get(
    "/v1/job/{job_id}",
    operation_id="prodiaGetJob",
    summary="Read a job",
    response_model=ProdiaJob,
    responses=responses(ErrorCode.UNAUTHORIZED, *READING),
)
@router.get(
    "/v1/sd/generate/job/{job_id}",
    operation_id="prodiaGetJobByOldName1",
    summary="Read a job (old path)",
    response_model=ProdiaJob,
    deprecated=True,
    responses=responses(ErrorCode.UNAUTHORIZED, *READING),
)
@router.get(
    "/v1/sdxl/generate/job/{job_id}",
    operation_id="prodiaGetJobByOldName2",
    summary="Read a job (old path)",
    response_model=ProdiaJob,
    deprecated=True,
    responses=responses(ErrorCode.UNAUTHORIZED, *READING),
)
async def get_job(request: Request, gateway: GatewayState, caller: CurrentCaller, job_id: str) -> JSONResponse:
    """The job as it is now. A canceled job has failed. The header `X-Photogram-Reason` says why a job failed."""
    return known_job(image_job(await gateway.jobs.find(caller, job_id)), request, gateway)


_IMAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The image.", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
    **problems(ErrorCode.IMAGE_NOT_FOUND),
}


@router.get(
    "/{job_id:uuid}.png",
    operation_id="prodiaGetImage",
    summary="Download the image of a job",
    response_class=FileResponse,
    responses=_IMAGE_RESPONSES,
)
@router.head(
    "/{job_id:uuid}.png",
    operation_id="prodiaHeadImage",
    summary="Check whether the image of a job exists",
    response_class=FileResponse,
    responses=_IMAGE_RESPONSES,
)
async def get_job_image(request: Request, gateway: GatewayState, job_id: UUID, download: str | None = None) -> Response:
    """The image as a PNG file, under the id of its job. Needs no API key."""
    return await get_image(request, gateway, str(job_id), download)
