"""The calls that draw: txt2img and img2img, answered with the images."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from models.catalog.catalog import Catalog
from models.jobs.checks import Problems
from models.jobs.records import JobRecord, JobStatus
from service.api.auth import CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.sdapi.answers import DrawAnswer, Drawn, draw_answer
from service.api.sdapi.calls import draw_all
from service.api.sdapi.errors import DRAWING, as_json
from service.api.sdapi.fields import IMG2IMG_EXAMPLE, TXT2IMG_EXAMPLE, SdDrawBody, SdImg2ImgBody, SdTxt2ImgBody
from service.api.sdapi.settings import Chosen, chosen, read_options
from service.api.sdapi.translation import to_request
from service.api.state import Gateway, GatewayState
from service.jobs.caller import Caller

router = APIRouter(tags=["a1111"])


@router.post(
    "/sdapi/v1/txt2img",
    operation_id="sdTxt2Img",
    summary="Draw images from words",
    response_model=DrawAnswer,
    openapi_extra=json_body(SdTxt2ImgBody, TXT2IMG_EXAMPLE),
    responses=DRAWING,
)
async def txt2img(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> Response:
    """Answers once all images are drawn. A client that goes away cancels them."""
    return await _draw(request, gateway, caller, await read_body(request, SdTxt2ImgBody))


@router.post(
    "/sdapi/v1/img2img",
    operation_id="sdImg2Img",
    summary="Draw over an image",
    response_model=DrawAnswer,
    openapi_extra=json_body(SdImg2ImgBody, IMG2IMG_EXAMPLE),
    responses=DRAWING,
)
async def img2img(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> Response:
    """With a mask, only where it is light. Answers once all are drawn. A client that goes away cancels them."""
    return await _draw(request, gateway, caller, await read_body(request, SdImg2ImgBody))


async def _draw(request: Request, gateway: Gateway, caller: Caller, body: SdDrawBody) -> Response:
    catalog, problems = gateway.catalog.current(), Problems()
    settings = _settings(await gateway.callers.options(caller.key_id), body, catalog, problems)
    wanted = to_request(body, settings, catalog, problems)
    records = await draw_all(gateway, request, caller, wanted, body.count, name=body.task, task_id=body.force_task_id)
    drawn = [await _read(gateway, record) for record in records if record.status is JobStatus.SUCCEEDED]
    return await run_in_threadpool(lambda: as_json(draw_answer(body, records, drawn, settings, catalog)))


def _settings(kept: dict[str, object], body: SdDrawBody, catalog: Catalog, problems: Problems) -> Chosen:
    """The key's options, and above them those of the call."""
    return chosen({**kept, **read_options(body.override_settings, catalog, problems, "override_settings.")})


async def _read(gateway: Gateway, record: JobRecord) -> Drawn:
    (image,) = await run_in_threadpool(gateway.jobs.read_images, record)
    return record, image
