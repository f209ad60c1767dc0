"""The gateway as one application: its routes, its middleware, and what is open while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from models.jobs.kinds import load_kinds
from service.api import assist, health, images, native, openai, prodia_v1, prodia_v2, sdapi
from service.api.documentation import DocumentedApi
from service.api.errors import ErrorRenderer
from service.api.middleware import BodyLimit, ErrorRendering, RequestId
from service.api.native.schemas import document_jobs, job_body, params_classes
from service.api.state import State, open_gateway
from service.backbone.settings import Settings

_TAGS = [
    {"name": "jobs", "description": "The native dialect."},
    {"name": "listings", "description": "What can be asked for."},
    {"name": "images", "description": "Finished images."},
    {"name": "language", "description": "Prompts rewritten, and wishes turned into jobs, by a language model."},
    {"name": "preferences", "description": "What holds for all requests of an API key."},
    {"name": "prodia v1", "description": "For clients of Prodia's v1."},
    {"name": "prodia v2", "description": "For clients of Prodia's v2."},
    {"name": "openai", "description": "For clients of OpenAI's Images API."},
    {"name": "a1111", "description": "For clients of A1111's stable-diffusion-webui."},
    {"name": "health", "description": "For whoever watches over the server."},
]

_WITH_BODIES = (native, assist, prodia_v1, prodia_v2, openai, sdapi)
"""Those that read bodies themselves."""


def _wire_models() -> Iterable[type]:
    yield job_body()
    yield from params_classes()
    for module in _WITH_BODIES:
        yield from module.WIRE_MODELS


def create_app(settings: Settings) -> FastAPI:
    """The gateway; nothing is opened before its lifespan starts.

    Raises:
        ImportError: a module of ``settings.job_kinds`` cannot be imported.
    """
    load_kinds(settings.job_kinds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with open_gateway(settings) as gateway:
            yield {"gateway": gateway}

    renderer = ErrorRenderer([prodia_v1.DIALECT, prodia_v2.DIALECT, openai.DIALECT, sdapi.DIALECT])
    app = DocumentedApi(
        wire_models=_wire_models,
        complete=document_jobs,
        title="Photogram",
        version="1",
        description="Images from words, by a durable queue. Errors are explained in docs/errors.md.",
        openapi_tags=_TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        middleware=[
            Middleware(RequestId),
            Middleware(ErrorRendering, renderer=renderer),
            Middleware(BodyLimit, max_bytes=settings.max_body_bytes),
        ],
        exception_handlers={HTTPException: renderer, RequestValidationError: renderer},
    )
    for module in (prodia_v1, prodia_v2, native, images, assist, openai, sdapi, health):
        app.include_router(module.router)
    if settings.prodia_keyless:
        app.include_router(prodia_v1.keyless_router)
    return app
