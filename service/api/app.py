"""The ASGI application of the gateway: its routes, middleware and lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from models.jobs.kinds import load_kinds
from service.api import assist, health, images, index, metrics, native, openai, pages, prodia_v1, prodia_v2, sdapi
from service.api.body_guard import BodyBudget, BodyGuard, BodyLimits
from service.api.documentation import DocumentedApi
from service.api.errors import ErrorRenderer
from service.api.hosts import KnownHosts
from service.api.job_bodies import job_body
from service.api.mcp import McpEndpoint, mcp_route
from service.api.metrics.requests import MeasuredRequests
from service.api.middleware import ErrorRendering, RequestId
from service.api.native.openapi import document_jobs, params_classes
from service.api.native.polls import POLLS
from service.api.native.submissions import SUBMISSIONS
from service.api.native.webhook_job import webhook_job
from service.api.origins import cors_middleware
from service.api.paths import HeadAsGet, PlainPaths
from service.api.proxies import TrustedProxies
from service.api.rate_limits import ShownLimits
from service.api.refusals import NotedRefusals
from service.api.state import Gateway, State, open_gateway
from service.api.stopping import Stopping
from service.api.turns import Turns
from service.backbone.settings import Settings
from service.backbone.tracing import spans
from service.webhooks.sender import Sender

_TAGS = [
    {"name": "jobs", "description": "Jobs and uploads of the native API."},
    {"name": "listings", "description": "Models, samplers and everything else that a job can name."},
    {"name": "images", "description": "Finished images."},
    {
        "name": "language",
        "description": "A language model rewrites prompts, and turns requests in plain language into jobs.",
    },
    {"name": "preferences", "description": "Defaults for all requests of an API key."},
    {"name": "usage", "description": "What an API key has used, and its limits."},
    {"name": "provenance", "description": "What images carry of how they came about."},
    {"name": "webhooks", "description": "Events of jobs, sent to URLs of yours."},
    {"name": "keys", "description": "API keys, for administrators."},
    {"name": "prodia v1", "description": "For clients of Prodia's API v1."},
    {"name": "prodia v2", "description": "For clients of Prodia's API v2."},
    {"name": "openai", "description": "For clients of OpenAI's Images API."},
    {"name": "a1111", "description": "For clients of A1111's stable-diffusion-webui."},
    {"name": "health", "description": "Health checks for operators."},
]

_WITH_MODELS = (native, assist, prodia_v1, prodia_v2, openai, sdapi)
"""The packages with models that routes parse without FastAPI."""


def _openapi_models() -> Iterable[type]:
    yield job_body()
    yield from params_classes()
    for module in _WITH_MODELS:
        yield from module.OPENAPI_MODELS


@asynccontextmanager
async def _sending_webhooks(gateway: Gateway) -> AsyncIterator[None]:
    sender = Sender(gateway.redis, gateway.settings.webhook_policy, webhook_job)
    sender.start()
    try:
        yield
    finally:
        await run_in_threadpool(sender.stop)


def _tracing() -> Iterable[Middleware]:
    """The middleware of traces, if this process exports them."""
    found = spans()
    if found is not None:
        from service.api.traced import TracedRequests  # needs OpenTelemetry

        yield Middleware(TracedRequests, spans=found)


def create_app(settings: Settings) -> FastAPI:
    """The gateway; nothing is opened before its lifespan starts.

    Raises:
        KindModuleError: a module of ``settings.job_kinds`` cannot be imported.
    """
    load_kinds(settings.job_kinds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with open_gateway(settings) as gateway, _sending_webhooks(gateway):
            yield {"gateway": gateway, "stopping": Stopping()}
            await assistants.stop()

    renderer = ErrorRenderer([prodia_v1.DIALECT, prodia_v2.DIALECT, openai.DIALECT, sdapi.DIALECT])
    app = DocumentedApi(
        openapi_models=_openapi_models,
        complete=document_jobs,
        title="Photogram",
        version="1",
        description="Image generation through a durable queue. docs/errors.md explains the errors.",
        openapi_tags=_TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        middleware=[
            *_tracing(),
            Middleware(MeasuredRequests),
            Middleware(Turns),
            Middleware(RequestId),
            Middleware(PlainPaths),
            Middleware(NotedRefusals),
            Middleware(TrustedProxies, trusted=settings.trusted_proxies),
            *cors_middleware(settings.cors_origins),
            Middleware(HeadAsGet),
            Middleware(ShownLimits),
            Middleware(ErrorRendering, renderer=renderer),
            Middleware(KnownHosts, hosts=settings.hosts, public_url=settings.public_url),
            Middleware(
                BodyGuard,
                limits=BodyLimits(max_bytes=settings.max_body_bytes, timeout_s=settings.request_timeout_s),
                budget=BodyBudget(settings.max_bodies_bytes),
            ),
        ],
        exception_handlers={HTTPException: renderer, RequestValidationError: renderer},
    )
    assistants = McpEndpoint(app, settings.max_body_bytes)
    app.routes.extend((POLLS, *SUBMISSIONS, mcp_route(assistants)))
    for module in (prodia_v1, prodia_v2, native, images, assist, openai, sdapi, health, metrics, index, pages):
        app.include_router(module.router)
    if settings.prodia_keyless:
        app.include_router(prodia_v1.keyless_router)
    return app
