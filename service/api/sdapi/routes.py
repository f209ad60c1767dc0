"""The routes that generate images: txt2img and img2img."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from models.catalog.catalog import Catalog
from models.jobs.checks import Problems
from models.jobs.cost import area
from models.jobs.params import DrawParams
from models.jobs.records import JobRecord, JobStatus
from service.api.auth import BasicSubmitter
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.responses import json_response
from service.api.sdapi.errors import SUBMITTING
from service.api.sdapi.infotext import with_infotext
from service.api.sdapi.options.translate import Options, read_options
from service.api.sdapi.schemas import (
    IMG2IMG_EXAMPLE,
    TXT2IMG_EXAMPLE,
    DrawAnswer,
    SdDrawBody,
    SdImg2ImgBody,
    SdTxt2ImgBody,
)
from service.api.sdapi.submitting import run_series
from service.api.sdapi.translate import to_request
from service.api.sdapi.views import Drawn, FinishedJob, draw_answer, unfinished_image
from service.api.state import Gateway, GatewayState
from service.jobs.caller import Caller

router = APIRouter(tags=["a1111"])


@router.post(
    "/sdapi/v1/txt2img",
    operation_id="sdTxt2Img",
    summary="Generate images from a prompt",
    response_model=DrawAnswer,
    openapi_extra=json_body(SdTxt2ImgBody, TXT2IMG_EXAMPLE),
    responses=SUBMITTING,
)
async def txt2img(request: Request, gateway: GatewayState, caller: BasicSubmitter) -> Response:
    """Answers once all images are finished. The jobs are cancelled if the client disconnects."""
    return await _draw(request, gateway, caller, await read_body(request, SdTxt2ImgBody, has_images=True))


@router.post(
    "/sdapi/v1/img2img",
    operation_id="sdImg2Img",
    summary="Change an image (img2img and inpainting)",
    response_model=DrawAnswer,
    openapi_extra=json_body(SdImg2ImgBody, IMG2IMG_EXAMPLE),
    responses=SUBMITTING,
)
async def img2img(request: Request, gateway: GatewayState, caller: BasicSubmitter) -> Response:
    """With a mask, only its white area changes. Otherwise like `txt2img`."""
    return await _draw(request, gateway, caller, await read_body(request, SdImg2ImgBody, has_images=True))


async def _draw(request: Request, gateway: Gateway, caller: Caller, body: SdDrawBody) -> Response:
    catalog, problems, comments = gateway.catalog.current(), Problems(), list[str]()
    stored = await gateway.callers.options(caller.key_id)
    if body.infotext:
        body = await run_in_threadpool(with_infotext, body, catalog, stored, comments)
    options = _options(stored, body, catalog, problems)
    job_request = to_request(body, options, catalog, problems, comments)
    records = await run_series(
        gateway, request, caller, job_request, body.count, name=body.task, task_id=body.force_task_id
    )
    finished = [drawn for record in records if (drawn := await _finished(gateway, record, options)) is not None]
    outcome = Drawn(records, finished, tuple(comments))
    return await run_in_threadpool(lambda: json_response(draw_answer(body, outcome, catalog)))


def _options(stored: dict[str, object], body: SdDrawBody, catalog: Catalog, problems: Problems) -> Options:
    """The stored options of the API key, overridden by those of the request."""
    overrides = read_options(body.override_settings, catalog, problems, "override_settings.")
    return Options.of({**stored, **overrides})


async def _finished(gateway: Gateway, record: JobRecord, options: Options) -> FinishedJob | None:
    """The job with its image: of an interrupted job, its last preview; ``None`` if it has none."""
    if record.status is JobStatus.SUCCEEDED:
        (file,), (image,) = await run_in_threadpool(gateway.jobs.read_images, record), record.images
        return record, await gateway.conversions.of(image.image_id, file, options.file_format, quality=options.quality)
    preview = await gateway.callers.preview(record.job_id)
    if preview is None:
        return None
    assert isinstance(record.params, DrawParams)
    px = area((record.params.width, record.params.height))
    unfinished = await gateway.decoding.run(px, lambda: unfinished_image(record, preview))
    return record, await gateway.decoding.convert(unfinished, options.file_format, quality=options.quality)
