"""The routes of OpenAI's Images API, and the route that reads one model."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from models.catalog.names import did_you_mean
from models.errors import quoted
from models.jobs.params import DrawRequest
from models.jobs.records import JobRecord
from service.api.auth import CurrentCaller, Submitter
from service.api.documentation import EVENT_STREAM, json_body
from service.api.errors import renamed_problems
from service.api.images import base_url, image_url
from service.api.model_objects import OpenAiModel, openai_model
from service.api.openai import streaming
from service.api.openai.errors import MODEL_NOT_FOUND, OpenAiError, responses
from service.api.openai.form_images import store_canvas, store_image
from service.api.openai.parsing import read_form, read_json
from service.api.openai.response_format import ResponseFormat
from service.api.openai.schemas import EditForm, GenerateBody, ImageData, ImageFields, ImagesAnswer, VariationForm
from service.api.openai.translate import canvas_size, edit, generation, variation, wire_name
from service.api.openai.views import draw_params, image_data, images_answer, require_images
from service.api.state import Gateway, GatewayState
from service.api.waiting import wait_for_all
from service.jobs.caller import Caller

router = APIRouter(tags=["openai"])

_EXAMPLE = {"prompt": "a red apple on a table", "size": "512x512", "n": 1, "response_format": "b64_json"}
_ERRORS = responses(400, 401, 402, 403, 404, 413, 415, 429, 500, 503)
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"model": ImagesAnswer, "description": "The images; with `stream`, the events of OpenAI's API."}
}


def _form(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI entry for a multipart form that the route parses as ``model``."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@router.post(
    "/v1/images/generations",
    operation_id="openaiGenerateImages",
    summary="Generate images from a prompt",
    openapi_extra=json_body(GenerateBody, _EXAMPLE),
    responses={200: _ANSWER[200] | {"content": EVENT_STREAM}, **_ERRORS},
    response_model=ImagesAnswer,
)
async def generate(request: Request, gateway: GatewayState, caller: Submitter) -> Response:
    """Answers once all images are finished. The jobs are cancelled if the client disconnects."""
    body = await read_json(request, GenerateBody)
    job_request = generation(body, gateway.catalog.current())
    return await _answer(request, gateway, caller, body, job_request, streaming.GENERATION if body.stream else None)


@router.post(
    "/v1/images/edits",
    operation_id="openaiEditImage",
    summary="Change an image",
    openapi_extra=_form(EditForm),
    responses={200: _ANSWER[200] | {"content": EVENT_STREAM}, **_ERRORS},
    response_model=ImagesAnswer,
)
async def edit_image(request: Request, gateway: GatewayState, caller: Submitter) -> Response:
    """Change the image where the mask is fully transparent (inpainting); without a mask, all of it (img2img).

    Several images are put beside each other on one canvas, and all of it is changed.
    """
    form = await read_form(request, EditForm)
    catalog = gateway.catalog.current()
    if len(form.image) == 1:
        images = await store_image(gateway, form.image[0], form.mask)
    else:
        images = await store_canvas(gateway, form.image, partial(canvas_size, form, catalog))
    job_request = edit(form, images, catalog)
    return await _answer(request, gateway, caller, form, job_request, streaming.EDIT if form.stream else None)


@router.post(
    "/v1/images/variations",
    operation_id="openaiVaryImage",
    summary="Generate variations of an image",
    openapi_extra=_form(VariationForm),
    responses={**_ANSWER, **_ERRORS},
    response_model=ImagesAnswer,
)
async def vary_image(request: Request, gateway: GatewayState, caller: Submitter) -> Response:
    """Run img2img with a strength of 0.5, unless the request says otherwise."""
    form = await read_form(request, VariationForm)
    images = await store_image(gateway, form.image[0])
    job_request = variation(form, images, gateway.catalog.current())
    return await _answer(request, gateway, caller, form, job_request, None)


async def _answer(
    request: Request,
    gateway: Gateway,
    caller: Caller,
    fields: ImageFields,
    job_request: DrawRequest,
    events: str | None,
) -> Response:
    """Queue ``fields.n`` jobs, and answer with their images.

    Args:
        events: the name of the server-sent events to answer with; ``None`` answers with JSON.
    """
    response_format = ResponseFormat.of(fields)
    with renamed_problems(partial(wire_name, fields=fields)):
        queued = await gateway.jobs.submit_series(caller, job_request, fields.n or 1)
    if events is not None:
        return streaming.JobStream(streaming.Stream(gateway, events, fields, response_format), queued)
    records = await wait_for_all(gateway.jobs, caller, request, [record.job_id for record in queued])
    require_images(records)
    data = [await _image_data(gateway, record, response_format, base_url(request, gateway)) for record in records]
    answer = images_answer(records, data, fields, response_format)
    return JSONResponse(answer.model_dump(exclude_none=True))


async def _image_data(gateway: Gateway, record: JobRecord, response_format: ResponseFormat, base: str) -> ImageData:
    image_id = record.images[0].image_id
    link = image_url(base, image_id)
    if response_format.is_url:
        return image_data(draw_params(record), link, None)
    (png,) = await run_in_threadpool(gateway.jobs.read_images, record)
    return image_data(draw_params(record), link, await response_format.encoded(gateway.conversions, image_id, png))


@router.get(
    "/v1/models/{model_id:path}",
    operation_id="openaiGetModel",
    summary="Read a model",
    responses=responses(401, 404, 503),
)
def get_model(gateway: GatewayState, caller: CurrentCaller, model_id: str) -> OpenAiModel:
    """The model of that name or alias, in the shape of OpenAI's API. `GET /v1/models` has the details."""
    catalog = gateway.catalog.current()
    found = catalog.resolve(model_id)
    if found is None:
        message = f"there is no model {quoted(model_id)}{did_you_mean(model_id, catalog)}"
        raise OpenAiError(message, param="model", code=MODEL_NOT_FOUND, status=404)
    return openai_model(found)
