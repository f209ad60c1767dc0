"""The routes: each reads a body, submits it to the engine and returns a whole or a streamed response."""

from __future__ import annotations

import time
from typing import Any, TypedDict

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool

from models.language.rwkv import engine as rwkv
from models.language.rwkv.engine import Engine
from service.rwkv_server import metrics
from service.rwkv_server.engine_thread import EngineThread
from service.rwkv_server.errors import RequestError
from service.rwkv_server.reading import read
from service.rwkv_server.schemas import ChatBody, CompletionBody, TextBody
from service.rwkv_server.settings import Limits
from service.rwkv_server.streaming import EventStream, whole_text
from service.rwkv_server.translate import Translation
from service.rwkv_server.views import CompletionView

router = APIRouter()


class Server:
    """The served model with its name, limits and thread."""

    def __init__(self, engine: Engine, name: str, limits: Limits) -> None:
        self.name, self.limits = name, limits
        self.started_at = int(time.time())
        self.thread = EngineThread(engine, limits.waiting)
        self.translation = Translation(engine.vocabulary, engine.vocabulary_size, limits)

    def require_model(self, name: str | None) -> None:
        """Raise :class:`RequestError` with 404 if ``name`` is given and is not the served model."""
        if name not in (None, self.name):
            raise RequestError(f"there is no model {name!r}", param="model", code="model_not_found", status=404)


class State(TypedDict):
    """The state that the lifespan gives to every request."""

    server: Server


@router.get("/health")
async def health(request: Request) -> Response:
    """200 while the engine's thread is alive, else 503."""
    return Response(status_code=200 if _server(request).thread.is_alive() else 503)


@router.get("/metrics")
async def prometheus_metrics(request: Request) -> Response:
    return PlainTextResponse(metrics.text(_server(request).thread), media_type=metrics.CONTENT_TYPE)


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    server = _server(request)
    model = {"id": server.name, "object": "model", "created": server.started_at, "owned_by": "photogram"}
    return {"object": "list", "data": [model]}


@router.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    server = _server(request)
    body = await read(request, ChatBody, server.limits.body_bytes)
    server.require_model(body.model)
    translated = await run_in_threadpool(server.translation.chat, body)
    return await _complete(request, body, translated, CompletionView(server.name, is_chat=True))


@router.post("/v1/completions")
async def complete(request: Request) -> Response:
    server = _server(request)
    body = await read(request, TextBody, server.limits.body_bytes)
    server.require_model(body.model)
    translated = await run_in_threadpool(server.translation.text, body)
    return await _complete(request, body, translated, CompletionView(server.name, is_chat=False))


async def _complete(request: Request, body: CompletionBody, translated: rwkv.Request, view: CompletionView) -> Response:
    generation = _server(request).thread.submit(translated)
    if body.stream:
        return EventStream(view, generation, with_usage=body.stream_options.include_usage)
    text = await whole_text(request, generation)
    return JSONResponse(view.completion(generation, text))


def _server(request: Request) -> Server:
    server: Server = request.state.server
    return server
