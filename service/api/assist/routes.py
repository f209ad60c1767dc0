"""The route that turns a wish into a job."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from models.language.presets import PRESETS
from service.api.assist.dialogue import Event, Partner, conversation
from service.api.assist.reading import read_wish
from service.api.assist.wire import EXAMPLE, AssistBody, AssistView
from service.api.auth import CurrentCaller
from service.api.bodies import read_body, require_json_type
from service.api.documentation import EVENT_STREAM, json_body, problems
from service.api.errors import ApiError, ErrorCode, problem_document
from service.api.images import base_url
from service.api.sse import EventResponse, frame, json_answer, while_connected
from service.api.state import Gateway, GatewayState

router = APIRouter(tags=["language"])

WIRE_MODELS = (AssistBody,)
"""Bodies that the route reads itself, for the OpenAPI document."""

_CODES = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.MALFORMED_JSON,
    ErrorCode.INVALID_PARAMS,
    ErrorCode.NO_PROPOSAL,
    ErrorCode.LANGUAGE_UNAVAILABLE,
    ErrorCode.LEDGER_UNAVAILABLE,
    ErrorCode.INTERNAL_ERROR,
)


@router.post(
    "/v1/assist",
    operation_id="assist",
    summary="Turn a wish into a job",
    openapi_extra=json_body(AssistBody, EXAMPLE),
    responses={
        200: {
            "description": "A job that `POST /v1/jobs` takes, and that nobody has queued yet; with `stream`, events "
            "`text`, `call` and `result`, and at last `proposal` or `error`.",
            "content": EVENT_STREAM,
        },
        **problems(*_CODES),
    },
    response_model=AssistView,
)
async def assist(request: Request, gateway: GatewayState, caller: CurrentCaller) -> Response:
    """Have the language model propose a job for what is said in plain words, in any language."""
    require_json_type(request.headers)
    body = await read_body(request, AssistBody)
    partner = _partner(gateway)
    wish = await run_in_threadpool(read_wish, gateway, body, base_url(request, gateway))
    events = conversation(partner, body.message, wish, is_streamed=bool(body.stream))
    if body.stream:
        return EventResponse(_frames(events, request.state.request_id))
    return json_answer(await while_connected(request, _last(events)))


def _partner(gateway: Gateway) -> Partner:
    """Whom to talk with; raises :class:`ApiError` if there is nobody."""
    preset = PRESETS[gateway.settings.llm_preset]
    if gateway.engine is None:
        detail = "there is no language engine, or it is off: PHOTOGRAM_LLM_URL says where it is"
    elif preset.is_small:
        detail = (
            f"the language model {preset.name} is too small for tool calls: set PHOTOGRAM_LLM_URL to an engine with a "
            "larger one, and PHOTOGRAM_LLM_PRESET to its preset, or to generic"
        )
    else:
        return Partner(engine=gateway.engine, preset=preset, breaker=gateway.breaker)
    raise ApiError(ErrorCode.LANGUAGE_UNAVAILABLE, detail)


async def _last(events: AsyncGenerator[Event, None]) -> dict[str, Any]:
    """The whole answer."""
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
