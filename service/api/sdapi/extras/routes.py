"""The routes that process images without a prompt: enlargement, face restoration, and reading of metadata."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import replace

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from models.errors import ProblemCode, UnreadableImage
from models.jobs.params import UPSCALE
from models.jobs.records import JobRecord, JobStatus
from models.media.infotext import a1111_parameters, parse_parameters
from models.media.png import read_texts
from service.api.auth import BasicSubmitter, CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.errors import invalid_field
from service.api.responses import json_response
from service.api.sdapi.errors import SENDING_JSON, SUBMITTING, SdError
from service.api.sdapi.extras.schemas import (
    BatchAnswer,
    BatchBody,
    ExtrasBody,
    PngInfo,
    PngInfoBody,
    SingleAnswer,
    SingleBody,
)
from service.api.sdapi.extras.sources import read_source
from service.api.sdapi.extras.translate import WIRE_NAMES, to_request
from service.api.sdapi.options.translate import Options
from service.api.sdapi.schemas import EXAMPLE_IMAGE
from service.api.sdapi.submitting import run_all
from service.api.sdapi.translate import readable_source
from service.api.state import Gateway, GatewayState
from service.jobs.caller import Caller

router = APIRouter(tags=["a1111"])


@router.post(
    "/sdapi/v1/extra-single-image",
    operation_id="sdExtraSingleImage",
    summary="Enlarge an image, or restore its faces",
    response_model=SingleAnswer,
    openapi_extra=json_body(SingleBody, {"image": EXAMPLE_IMAGE, "upscaler_1": "Lanczos", "upscaling_resize": 2}),
    responses=SUBMITTING,
)
async def extra_single_image(request: Request, gateway: GatewayState, caller: BasicSubmitter) -> Response:
    """Answers once the image is finished. The job is cancelled if the client disconnects."""
    body = await read_body(request, SingleBody, has_images=True)
    info, images = await _run(request, gateway, caller, body, [body.image])
    if not images:
        raise SdError(500, "the call was interrupted", name="interrupted")
    return json_response({"html_info": info, "image": images[0]})


@router.post(
    "/sdapi/v1/extra-batch-images",
    operation_id="sdExtraBatchImages",
    summary="Enlarge several images, or restore their faces",
    response_model=BatchAnswer,
    openapi_extra=json_body(
        BatchBody, {"imageList": [{"data": EXAMPLE_IMAGE, "name": "a.png"}], "upscaler_1": "Lanczos"}
    ),
    responses=SUBMITTING,
)
async def extra_batch_images(request: Request, gateway: GatewayState, caller: BasicSubmitter) -> Response:
    """Answers once all images are finished, in the same order. Images whose jobs were interrupted are left out."""
    body = await read_body(request, BatchBody, has_images=True)
    info, images = await _run(request, gateway, caller, body, [file.data for file in body.imageList])
    return json_response({"html_info": info, "images": images})


async def _run(
    request: Request, gateway: Gateway, caller: Caller, body: ExtrasBody, sources: Sequence[str]
) -> tuple[str, list[str]]:
    """The parameters as HTML, in A1111's format, and the images in Base64."""
    options = Options.of(await gateway.callers.options(caller.key_id))
    translated = [await run_in_threadpool(to_request, gateway, body, readable_source(source)) for source in sources]
    job_requests = [replace(each, metadata=options.metadata) for each in translated]
    wire_names = {**WIRE_NAMES, "scale": "upscaling_resize_w"} if body.resize_mode == 1 else WIRE_NAMES
    records = await run_all(gateway, request, caller, job_requests, name="extras", wire_names=wire_names)
    done = [record for record in records if record.status is JobStatus.SUCCEEDED]
    files = [await _finished(gateway, body, record, options) for record in done]
    return _html_info(records[0]), [base64.b64encode(file).decode() for file in files]


async def _finished(gateway: Gateway, body: ExtrasBody, record: JobRecord, options: Options) -> bytes:
    """The image of the job in the format of ``options``, cropped if it was enlarged to another aspect ratio."""
    (file,), (image,) = await run_in_threadpool(gateway.jobs.read_images, record), record.images
    size, conversions = (body.upscaling_resize_w, body.upscaling_resize_h), gateway.conversions
    is_cropped = record.kind == UPSCALE and body.resize_mode == 1 and body.upscaling_crop
    if not is_cropped or (image.width, image.height) == size:
        return await conversions.of(image.image_id, file, options.file_format, quality=options.quality)
    return await conversions.cropped(image.image_id, file, size, options.file_format, quality=options.quality)


def _html_info(record: JobRecord) -> str:
    return f"<p>{html.escape(a1111_parameters(record.kind, record.params))}</p>"


@router.post(
    "/sdapi/v1/png-info",
    operation_id="sdPngInfo",
    summary="Read the parameters in an image",
    openapi_extra=json_body(PngInfoBody, {"image": EXAMPLE_IMAGE}),
    responses=SENDING_JSON,
)
async def png_info(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> PngInfo:
    """Reads PNG, JPEG, WebP and GIF, from any program. To generate the image again, send `info` as `infotext`."""
    body = await read_body(request, PngInfoBody, has_images=True)
    return await run_in_threadpool(_png_info, gateway, body.image)


def _png_info(gateway: Gateway, image: str) -> PngInfo:
    try:
        info, items = read_texts(read_source(gateway, readable_source(image)))
    except UnreadableImage as error:
        raise invalid_field("image", str(error), ProblemCode.MALFORMED) from error
    return PngInfo(info=info, items=items, parameters=parse_parameters(info))
