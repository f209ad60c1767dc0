"""Images that are worked on without a prompt: enlarged, restored, read for their parameters."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from models.errors import FieldProblem, InvalidTicket, UnreadableImage
from models.jobs.checks import Problems
from models.jobs.params import FaceRestoreRequest, UpscaleRequest
from models.jobs.records import JobRecord, JobStatus
from models.media.infotext import a1111_parameters, parse_parameters
from models.media.png import read_texts
from service.api.auth import CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.sdapi.calls import do_all
from service.api.sdapi.errors import DRAWING, SdError, answers, as_json
from service.api.sdapi.extras_bodies import (
    BatchAnswer,
    BatchBody,
    ExtrasBody,
    PngInfo,
    PngInfoBody,
    SingleAnswer,
    SingleBody,
)
from service.api.sdapi.fields import EXAMPLE_IMAGE
from service.api.sdapi.sources import factor_of, read_source
from service.api.sdapi.translation import readable_source
from service.api.state import Gateway, GatewayState
from service.jobs.caller import Caller

router = APIRouter(tags=["a1111"])

_NONE = ("", "none")
_WIRE_NAMES = {"scale": "upscaling_resize", "upscaler": "upscaler_1", "kind": "gfpgan_visibility"}


@router.post(
    "/sdapi/v1/extra-single-image",
    operation_id="sdExtraSingleImage",
    summary="Enlarge an image, or restore its faces",
    response_model=SingleAnswer,
    openapi_extra=json_body(SingleBody, {"image": EXAMPLE_IMAGE, "upscaler_1": "Lanczos", "upscaling_resize": 2}),
    responses=DRAWING,
)
async def extra_single_image(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> Response:
    """Answers once it is done."""
    body = await read_body(request, SingleBody)
    info, images = await _work(request, gateway, caller, body, [body.image])
    if not images:
        raise SdError(500, "the call was interrupted", name="interrupted")
    return as_json({"html_info": info, "image": images[0]})


@router.post(
    "/sdapi/v1/extra-batch-images",
    operation_id="sdExtraBatchImages",
    summary="Enlarge several images, or restore their faces",
    response_model=BatchAnswer,
    openapi_extra=json_body(
        BatchBody, {"imageList": [{"data": EXAMPLE_IMAGE, "name": "a.png"}], "upscaler_1": "Lanczos"}
    ),
    responses=DRAWING,
)
async def extra_batch_images(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> Response:
    """Answers once all are done, in the same order; interrupted ones are left out."""
    body = await read_body(request, BatchBody)
    info, images = await _work(request, gateway, caller, body, [file.data for file in body.imageList])
    return as_json({"html_info": info, "images": images})


async def _work(
    request: Request, gateway: Gateway, caller: Caller, body: ExtrasBody, sources: Sequence[str]
) -> tuple[str, list[str]]:
    """A1111's words on what was done, and the images in Base64."""
    wanted = [await run_in_threadpool(_wanted, gateway, body, readable_source(source)) for source in sources]
    records = await do_all(gateway, request, caller, wanted, name="extras", wire_names=_WIRE_NAMES)
    done = [record for record in records if record.status is JobStatus.SUCCEEDED]
    files = [(await run_in_threadpool(gateway.jobs.read_images, record))[0] for record in done]
    return _html_info(records[0]), [base64.b64encode(file).decode() for file in files]


def _html_info(record: JobRecord) -> str:
    return f"<p>{html.escape(a1111_parameters(record.kind, record.params))}</p>"


def _wanted(gateway: Gateway, body: ExtrasBody, source: str) -> UpscaleRequest | FaceRestoreRequest:
    """What ``body`` asks for; raises :class:`InvalidTicket` for what cannot be had. Blocking."""
    problems, has_upscaler = Problems(), body.upscaler_1.lower() not in _NONE
    _refuse(body, has_upscaler, problems)
    problems.raise_if_any()
    if not has_upscaler:
        return FaceRestoreRequest(image=source)
    if body.resize_mode == 1:
        size = (body.upscaling_resize_w, body.upscaling_resize_h)
        return UpscaleRequest(image=source, scale=factor_of(gateway, source, size), upscaler=body.upscaler_1)
    scale = int(body.upscaling_resize) if body.upscaling_resize.is_integer() else 0
    return UpscaleRequest(image=source, scale=scale, upscaler=body.upscaler_1)


def _refuse(body: ExtrasBody, has_upscaler: bool, problems: Problems) -> None:
    if body.codeformer_visibility:
        problems.note("codeformer_visibility", "not available: faces are restored by GFPGAN")
    if body.gfpgan_visibility not in (0, 1):
        problems.note("gfpgan_visibility", "must be 0 or 1: what is restored is not blended with the image")
    if body.extras_upscaler_2_visibility and body.upscaler_2.lower() not in _NONE:
        problems.note("extras_upscaler_2_visibility", "not available: one upscaler works at a time")
    if has_upscaler and body.gfpgan_visibility:
        problems.note("gfpgan_visibility", "not available in the same call as an upscaler; make two calls")
    if not has_upscaler and not body.gfpgan_visibility:
        problems.note("upscaler_1", "names no upscaler, and no faces are to be restored: there is nothing to do")


@router.post(
    "/sdapi/v1/png-info",
    operation_id="sdPngInfo",
    summary="What an image says of how it was made",
    openapi_extra=json_body(PngInfoBody, {"image": EXAMPLE_IMAGE}),
    responses=answers(401, 413, 422, 503),
)
async def png_info(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> PngInfo:
    """Reads PNG, JPEG, WebP and GIF, whoever wrote them. To draw the image again, send `info` as `infotext`."""
    body = await read_body(request, PngInfoBody)
    return await run_in_threadpool(_png_info, gateway, body.image)


def _png_info(gateway: Gateway, image: str) -> PngInfo:
    try:
        info, items = read_texts(read_source(gateway, readable_source(image)))
    except UnreadableImage as error:
        raise InvalidTicket([FieldProblem("image", str(error))]) from error
    return PngInfo(info=info, items=items, parameters=parse_parameters(info))
