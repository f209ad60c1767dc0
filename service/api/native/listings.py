"""What can be asked for: the models with their defaults and limits, the samplers, and the kinds of jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from models.catalog.catalog import Catalog, Defaults, Limits, ModelSpec
from models.catalog.samplers import REFUSED, SAMPLERS
from models.jobs.kinds import job_kinds
from service.api.auth import CurrentCaller
from service.api.documentation import problems
from service.api.errors import ErrorCode
from service.api.state import GatewayState
from service.backbone.watch import ModelBackend

_ABSOLUTE_PATH = re.compile(r"(?<![\w/:.])(?:~|[A-Za-z]:)?[/\\][^\s'\",;:()]+")

router = APIRouter(tags=["listings"])


class ModelView(BaseModel):
    """One model of the catalog."""

    name: str
    family: str
    source: str | None = Field(description="The hub repository and revision; null for files of the server's own.")
    is_default: bool
    is_available: bool
    problem: str | None = Field(description="Why the model cannot be drawn with.")
    defaults: Defaults
    limits: Limits
    aliases: tuple[str, ...]
    licence: str
    native_px: int | None
    backend: str | None = Field(description="What computes it; null until a worker has loaded it.")
    relative_error: float | None = Field(description="How far its outputs are from torch's.")


class OpenAiModel(BaseModel):
    """One model in OpenAI's terms."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="When its files came here, in seconds since the epoch; 0 for models of the hub.")
    owned_by: str = "photogram"


class ModelList(BaseModel):
    """All models: `models` in our own terms, `object` and `data` in OpenAI's."""

    models: list[ModelView]
    object: Literal["list"] = "list"
    data: list[OpenAiModel]


class SamplerView(BaseModel):
    """One sampler."""

    name: str
    problem: str | None = Field(description="Why it cannot be used; null if it can.")


class SamplerList(BaseModel):
    """All samplers."""

    samplers: list[SamplerView]


class CapabilityView(BaseModel):
    """One kind of job."""

    kind: str
    problem: str | None = Field(description="Why this server cannot do it; null if it can.")


class CapabilityList(BaseModel):
    """All kinds of jobs."""

    kinds: list[CapabilityView]


@router.get(
    "/v1/models",
    operation_id="listModels",
    summary="The models",
    responses={
        200: {
            "description": "The models; asked with the header `X-Prodia-Key`, their names alone, as Prodia's v1 does.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": '["house"]'}},
        },
        **problems(ErrorCode.UNAUTHORIZED, ErrorCode.LEDGER_UNAVAILABLE),
    },
)
async def list_models(gateway: GatewayState, caller: CurrentCaller) -> ModelList:
    """Every model of the catalog, with what is wrong with it if anything is."""
    noted = await gateway.watcher.model_problems()
    backends = await gateway.watcher.model_backends()
    return await run_in_threadpool(_model_list, gateway.catalog.current(), noted, backends)


def _model_list(catalog: Catalog, noted: Mapping[str, str], backends: Mapping[str, ModelBackend]) -> ModelList:
    views = [_model_view(spec, catalog, noted.get(spec.name), backends.get(spec.name)) for spec in catalog.values()]
    return ModelList(models=views, data=[openai_model(spec) for spec in catalog.values()])


def openai_model(spec: ModelSpec) -> OpenAiModel:
    """``spec`` in OpenAI's terms; blocking."""
    place = spec.folder or spec.file
    try:
        created = 0 if place is None else int(place.stat().st_mtime)
    except OSError:
        created = 0
    return OpenAiModel(id=spec.name, created=created)


def _model_view(spec: ModelSpec, catalog: Catalog, noted: str | None, backend: ModelBackend | None) -> ModelView:
    problem = _local_problem(spec) or (None if noted is None else without_paths(noted, spec))
    return ModelView(
        name=spec.name,
        family=spec.family,
        source=None if spec.repository is None else spec.source,
        is_default=spec.name == catalog.default,
        is_available=problem is None,
        problem=problem,
        defaults=spec.defaults,
        limits=spec.limits,
        aliases=spec.aliases,
        licence=spec.licence,
        native_px=spec.native_px,
        backend=None if backend is None else backend.backend,
        relative_error=None if backend is None else backend.relative_error,
    )


def _local_problem(spec: ModelSpec) -> str | None:
    """What the disk tells, without where on the disk."""
    if spec.problem() is None:
        return None
    return "its file is missing" if spec.folder is None else "its folder holds no diffusers pipeline"


def without_paths(text: str, spec: ModelSpec) -> str:
    """``text`` without the places on the server's disk that it names."""
    return _ABSOLUTE_PATH.sub("[path]", text.replace(str(spec.folder or spec.file), "[path]"))


@router.get(
    "/v1/samplers", operation_id="listSamplers", summary="The samplers", responses=problems(ErrorCode.UNAUTHORIZED)
)
async def list_samplers(caller: CurrentCaller) -> SamplerList:
    """Every sampler by the name under which requests ask for it, also those that are refused."""
    usable = [SamplerView(name=name, problem=None) for name in SAMPLERS]
    return SamplerList(samplers=usable + [SamplerView(name=name, problem=why) for name, why in REFUSED.items()])


@router.get(
    "/v1/capabilities",
    operation_id="listCapabilities",
    summary="The kinds of jobs",
    responses=problems(ErrorCode.UNAUTHORIZED),
)
async def list_capabilities(gateway: GatewayState, caller: CurrentCaller) -> CapabilityList:
    """Every kind of job, with the reason if this server cannot do it."""
    catalog = gateway.catalog.current()
    return CapabilityList(kinds=[CapabilityView(kind=kind.name, problem=kind.problem(catalog)) for kind in job_kinds()])
