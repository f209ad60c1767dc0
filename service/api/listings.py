"""What can be asked for: the models with their defaults and limits, and the samplers."""

from __future__ import annotations

import re

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from models.catalog import Catalog, Defaults, Limits, ModelSpec
from models.samplers import SAMPLERS
from service.api.auth import Owner
from service.api.documented import problems
from service.api.errors import ErrorCode
from service.api.state import GatewayState

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


class ModelList(BaseModel):
    """All models."""

    models: list[ModelView]


class SamplerView(BaseModel):
    """One sampler."""

    name: str


class SamplerList(BaseModel):
    """All samplers."""

    samplers: list[SamplerView]


@router.get(
    "/v1/models",
    operation_id="listModels",
    summary="The models",
    responses=problems(ErrorCode.UNAUTHORIZED, ErrorCode.LEDGER_UNAVAILABLE),
)
async def list_models(gateway: GatewayState, owner: Owner) -> ModelList:
    """Every model of the catalog, with what is wrong with it if anything is."""
    noted = await gateway.watcher.model_problems()
    return await run_in_threadpool(_model_list, gateway.catalog.current(), noted)


def _model_list(catalog: Catalog, noted: dict[str, str]) -> ModelList:
    return ModelList(models=[_model_view(spec, catalog, noted.get(spec.name)) for spec in catalog.values()])


def _model_view(spec: ModelSpec, catalog: Catalog, noted: str | None) -> ModelView:
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
async def list_samplers(owner: Owner) -> SamplerList:
    """Every sampler by the name under which requests ask for it."""
    return SamplerList(samplers=[SamplerView(name=name) for name in SAMPLERS])
