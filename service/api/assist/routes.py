"""The route that turns a request in plain language into a job."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from models.language.presets import PRESETS
from service.api.assist.conversation import ChatModel, Event, conversation
from service.api.assist.errors import RESPONSES
from service.api.assist.schemas import EXAMPLE, AssistBody, AssistView
from service.api.assist.translate import to_assist_request
from service.api.auth import Submitter
from service.api.bodies import read_body, require_json_type
from service.api.documentation import EVENT_STREAM, json_body
from service.api.errors import ApiError, ErrorCode, problem_document
from service.api.images import base_url
from service.api.responses import json_response
from service.api.sse import EventResponse, frame, stopping_frame, while_connected
from service.api.state import Gateway, GatewayState

router = APIRouter(tags=["language"])

OPENAPI_MODELS = (AssistBody,)
"""Models for the OpenAPI document that routes parse without FastAPI."""


@router.post(
    "/v1/assist",
    operation_id="assist",
    summary="Turn a request in plain language into a job",
    openapi_extra=json_body(AssistBody, EXAMPLE),
    responses={
        200: {
            "description": "A job for `POST /v1/jobs`, which is not queued yet; with `stream`, events `text`, `call` "
            "and `result`, and finally `proposal` or `error`.",
            "content": EVENT_STREAM,
        },
        **RESPONSES,
    },
    response_model=AssistView,
)
async def assist(request: Request, gateway: GatewayState, caller: Submitter) -> Response:
    """Have the language model propose a job for the message, which may be in any language."""
    require_json_type(request.headers)
    body = await read_body(request, AssistBody, has_images=True)
    chat_model = _chat_model(gateway)
    context = await run_in_threadpool(to_assist_request, gateway, body, base_url(request, gateway))
    events = conversation(chat_model, body.message, context, is_streamed=bool(body.stream))
    if body.stream:
        return EventResponse(_frames(events, request.state.request_id), ending=stopping_frame(request))
    return json_response(await while_connected(request, _last(events)))


def _chat_model(gateway: Gateway) -> ChatModel:
    """The language model; raises :class:`ApiError` if there is none that can call tools."""
    preset = PRESETS[gateway.settings.llm_preset]
    if gateway.engine is None:
        detail = "no language engine is configured, or it is switched off; PHOTOGRAM_LLM_URL sets its address"
    elif preset.is_small:
        detail = (
            f"the language model {preset.name} is too small for tool calls: set PHOTOGRAM_LLM_URL to an engine with a "
            "larger one, and PHOTOGRAM_LLM_PRESET to its preset, or to generic"
        )
    else:
        return ChatModel(engine=gateway.engine, preset=preset, breaker=gateway.breaker)
    raise ApiError(ErrorCode.LANGUAGE_UNAVAILABLE, detail)


async def _last(events: AsyncGenerator[Event, None]) -> dict[str, Any]:
    """The data of the last event, which is the whole answer."""
    async with aclosing(events):
        *_, (_, answer) = [event async for event in events]
    return answer


async def _frames(events: AsyncGenerator[Event, None], request_id: str) -> AsyncGenerator[str, None]:
    try:
        async with aclosing(events):
            async for name, data in events:
                yield frame(name, data)
    except ApiError as error:
        yield frame("error", problem_document(error, request_id))
