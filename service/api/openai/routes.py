"""The routes of OpenAI's Images API, and the one that reads a single model."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from models.jobs.params import DrawRequest
from models.jobs.records import JobRecord
from service.api.auth import CurrentCaller
from service.api.documentation import EVENT_STREAM, json_body
from service.api.errors import renamed_problems
from service.api.images import base_url
from service.api.native.listings import OpenAiModel, openai_model
from service.api.openai import streaming
from service.api.openai.answers import ImageData, ImagesAnswer, draw_params, image_data, images_answer, require_images
from service.api.openai.errors import MODEL_NOT_FOUND, OpenAiError, responses
from service.api.openai.fields import EditForm, Fields, GenerateBody, VariationForm
from service.api.openai.images import take_in
from service.api.openai.output import Output
from service.api.openai.reading import read_form, read_json
from service.api.openai.translation import edit, generation, openai_name, variation
from service.api.state import Gateway, GatewayState
from service.api.waiting import wait_for_all
from service.jobs.caller import Caller

router = APIRouter(tags=["openai"])

_EXAMPLE = {"prompt": "a red apple on a table", "size": "512x512", "n": 1, "response_format": "b64_json"}
_ERRORS = responses(400, 401, 404, 413, 415, 429, 500, 503)
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"model": ImagesAnswer, "description": "The images; with `stream`, events that the clients of OpenAI know."}
}


def _form(model: type[BaseModel]) -> dict[str, Any]:
    """The page's entry for a multipart form that the route reads as ``model``."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@router.post(
    "/v1/images/generations",
    operation_id="openaiGenerateImages",
    summary="Have images drawn from words",
    openapi_extra=json_body(GenerateBody, _EXAMPLE),
    responses={200: _ANSWER[200] | {"content": EVENT_STREAM}, **_ERRORS},
    response_model=ImagesAnswer,
)
async def generate(request: Request, gateway: GatewayState, caller: CurrentCaller) -> Response:
    """Draw, and answer when all images are finished. A client that leaves cancels its jobs."""
    body = await read_json(request, GenerateBody)
    wanted = generation(body, gateway.catalog.current())
    return await _answer(request, gateway, caller, body, wanted, streaming.GENERATION if body.stream else None)


@router.post(
    "/v1/images/edits",
    operation_id="openaiEditImage",
    summary="Have an image changed",
    openapi_extra=_form(EditForm),
    responses={200: _ANSWER[200] | {"content": EVENT_STREAM}, **_ERRORS},
    response_model=ImagesAnswer,
)
async def edit_image(request: Request, gateway: GatewayState, caller: CurrentCaller) -> Response:
    """Draw the image anew where the mask is fully transparent, or all over it, and answer when that is finished."""
    form = await read_form(request, EditForm)
    images = await run_in_threadpool(take_in, gateway, form.image, form.mask)
    wanted = edit(form, images, gateway.catalog.current())
    return await _answer(request, gateway, caller, form, wanted, streaming.EDIT if form.stream else None)


@router.post(
    "/v1/images/variations",
    operation_id="openaiVaryImage",
    summary="Have an image drawn in other ways",
    openapi_extra=_form(VariationForm),
    responses={**_ANSWER, **_ERRORS},
    response_model=ImagesAnswer,
)
async def vary_image(request: Request, gateway: GatewayState, caller: CurrentCaller) -> Response:
    """Draw over the image with a strength of 0.5, and answer when that is finished."""
    form = await read_form(request, VariationForm)
    images = await run_in_threadpool(take_in, gateway, form.image)
    wanted = variation(form, images, gateway.catalog.current())
    return await _answer(request, gateway, caller, form, wanted, None)


async def _answer(
    request: Request, gateway: Gateway, caller: Caller, fields: Fields, wanted: DrawRequest, events: str | None
) -> Response:
    """Queue ``wanted`` as often as ``fields`` say, and answer with the images, or with ``events`` of that name."""
    output = Output.of(fields)
    with renamed_problems(openai_name):
        queued = await gateway.jobs.submit_series(caller, wanted, fields.n or 1)
    if events is not None:
        return streaming.JobStream(streaming.Stream(gateway, events, fields, output), queued)
    records = await wait_for_all(gateway.jobs, caller, request, [record.job_id for record in queued])
    require_images(records)
    data = [await _image_data(gateway, record, output, base_url(request, gateway)) for record in records]
    answer = images_answer(records, data, fields, output)
    return JSONResponse(answer.model_dump(exclude_none=True))


async def _image_data(gateway: Gateway, record: JobRecord, output: Output, base: str) -> ImageData:
    link = f"{base}/images/{record.images[0].image_id}.png"
    if output.is_url:
        return image_data(draw_params(record), link, None)
    (png,) = await run_in_threadpool(gateway.jobs.read_images, record)
    return image_data(draw_params(record), link, await run_in_threadpool(output.encoded, png))


@router.get(
    "/v1/models/{model_id:path}",
    operation_id="openaiGetModel",
    summary="One model",
    responses=responses(401, 404, 503),
)
def get_model(gateway: GatewayState, caller: CurrentCaller, model_id: str) -> OpenAiModel:
    """The model of that name or alias, as OpenAI shows models; `GET /v1/models` tells more."""
    found = gateway.catalog.current().resolve(model_id)
    if found is None:
        raise OpenAiError(f"there is no model {model_id!r}", param="model", code=MODEL_NOT_FOUND, status=404)
    return openai_model(found)
