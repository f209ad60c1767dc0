"""The server as one application: its routes, and the engine's thread that lives while it does."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from models.language.rwkv import engine as rwkv
from models.language.rwkv.engine import Engine
from service.api.errors import Dialect, ErrorRenderer
from service.api.middleware import BodyLimit, ErrorRendering, RequestId
from service.api.openai.errors import MODEL_NOT_FOUND, OpenAiError, render_error
from service.rwkv_server import metrics
from service.rwkv_server.answers import AnswerStream, Wording, whole_text
from service.rwkv_server.bodies import ChatBody, CompletionBody, TextBody, read
from service.rwkv_server.desk import Desk
from service.rwkv_server.requests import Translation
from service.rwkv_server.settings import Limits

router = APIRouter()


class Server:
    """What routes work with."""

    def __init__(self, engine: Engine, name: str, limits: Limits) -> None:
        self.name = name
        self.started_at = int(time.time())
        self.desk = Desk(engine, limits.waiting)
        self.translation = Translation(engine.vocabulary, engine.vocabulary_size, limits)

    def require_model(self, name: str | None) -> None:
        """Unless ``name`` is the model's, or left open, raise :class:`OpenAiError`."""
        if name not in (None, self.name):
            raise OpenAiError(f"there is no model {name!r}", param="model", code=MODEL_NOT_FOUND, status=404)

    def listed(self) -> dict[str, Any]:
        """The model as OpenAI shows models."""
        return {"id": self.name, "object": "model", "created": self.started_at, "owned_by": "photogram"}


class State(TypedDict):
    """What the lifespan hands to every request."""

    server: Server


def create_app(engine: Engine, name: str, limits: Limits | None = None) -> FastAPI:
    """The server of the model ``name``; its thread starts with the lifespan. For one lifespan only."""
    limits = limits or Limits()
    server = Server(engine, name, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        server.desk.start()
        try:
            yield {"server": server}
        finally:
            await run_in_threadpool(server.desk.stop)

    renderer = ErrorRenderer([Dialect(re.compile("/"), render_error)])
    app = FastAPI(
        title="RWKV",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[
            Middleware(RequestId),
            Middleware(ErrorRendering, renderer=renderer),
            Middleware(BodyLimit, max_bytes=limits.body_bytes),
        ],
        exception_handlers={HTTPException: renderer, RequestValidationError: renderer},
    )
    app.include_router(router)
    return app


@router.get("/health")
async def health(request: Request) -> Response:
    """200 while the engine's thread lives, else 503."""
    return Response(status_code=200 if _server(request).desk.is_alive() else 503)


@router.get("/metrics")
async def figures(request: Request) -> Response:
    """The figures for Prometheus."""
    return PlainTextResponse(metrics.text(_server(request).desk), media_type=metrics.CONTENT_TYPE)


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The one model."""
    return {"object": "list", "data": [_server(request).listed()]}


@router.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    """The next turn of a conversation."""
    body = await read(request, ChatBody)
    server = _server(request)
    server.require_model(body.model)
    asked = await run_in_threadpool(server.translation.chat, body)
    return await _answered(request, body, asked, Wording(server.name, is_chat=True))


@router.post("/v1/completions")
async def complete(request: Request) -> Response:
    """The continuation of a text."""
    body = await read(request, TextBody)
    server = _server(request)
    server.require_model(body.model)
    asked = await run_in_threadpool(server.translation.text, body)
    return await _answered(request, body, asked, Wording(server.name, is_chat=False))


async def _answered(request: Request, body: CompletionBody, asked: rwkv.Request, wording: Wording) -> Response:
    answer = _server(request).desk.ask(asked)
    if body.stream:
        return AnswerStream(wording, answer, with_usage=body.stream_options.include_usage)
    text = await whole_text(request, answer)
    return JSONResponse(wording.whole(answer, text))


def _server(request: Request) -> Server:
    server: Server = request.state.server
    return server
