"""The server as one application; the engine's thread starts and stops with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from models.language.rwkv.engine import Engine
from service.rwkv_server.errors import RequestBoundary, RequestError, render_http_exception, render_request_error
from service.rwkv_server.routes import Server, State, router
from service.rwkv_server.settings import Limits


def create_app(engine: Engine, name: str, limits: Limits | None = None) -> FastAPI:
    """The application that serves ``engine`` under the model name ``name``; it can be started only once."""
    server = Server(engine, name, limits or Limits())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        server.thread.start()
        try:
            yield {"server": server}
        finally:
            await run_in_threadpool(server.thread.stop)

    app = FastAPI(
        title="RWKV",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        middleware=[Middleware(RequestBoundary)],
        exception_handlers={HTTPException: render_http_exception, RequestError: render_request_error},
    )
    app.include_router(router)
    return app
