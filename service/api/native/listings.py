"""The native listings of models, samplers and job kinds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from models.catalog.catalog import Catalog, Defaults, Limits, ModelSpec
from models.catalog.samplers import REFUSED, SAMPLERS
from models.downloads.notes import download_of
from models.jobs.kinds import job_kinds
from service.api.auth import CurrentCaller
from service.api.model_objects import OpenAiModel, openai_model
from service.api.native.errors import LISTING, LISTING_MODELS
from service.api.state import GatewayState
from service.backbone.model_notes import ModelBackend
from service.backbone.server_version import server_version

_ABSOLUTE_PATH = re.compile(r"(?<![\w/:.])(?:~|[A-Za-z]:)?[/\\][^\s'\",;:()]+")

router = APIRouter(tags=["listings"])


class DownloadView(BaseModel):
    """How far the download of a model is that is not complete."""

    done_bytes: int
    total_bytes: int | None = Field(description="The size of the model; null if its server does not tell.")
    bytes_per_s: float | None = Field(description="The speed since the download began or went on; null if unknown.")
    is_running: bool = Field(description="False if it was cut off; the next one goes on there.")


class ModelView(BaseModel):
    """A model of the catalog."""

    name: str
    family: str
    source: str | None = Field(description="The Hugging Face repository and revision; null for local files.")
    is_default: bool
    is_available: bool = Field(description="Whether jobs can use the model, as far as is known.")
    problem: str | None = Field(description="Why the model cannot be used; null if it can.")
    download: DownloadView | None = Field(
        description="The download of its files; null if none was begun on the gateway's machine, or it is complete."
    )
    defaults: Defaults
    limits: Limits
    aliases: tuple[str, ...]
    licence: str
    native_px: int | None = Field(description="The side of the images that the model was trained on, in pixels.")
    backend: str | None = Field(description="The backend that runs it; null until a worker has loaded it.")
    relative_error: float | None = Field(
        description="The relative error of its outputs, compared with torch; null if not measured."
    )


class ModelList(BaseModel):
    """All models: `models` in the shape of this API, `object` and `data` in the shape of OpenAI's."""

    models: list[ModelView]
    object: Literal["list"] = "list"
    data: list[OpenAiModel]


class SamplerView(BaseModel):
    """A sampler."""

    name: str
    problem: str | None = Field(description="Why it cannot be used; null if it can.")


class SamplerList(BaseModel):
    """All samplers."""

    samplers: list[SamplerView]


class CapabilityView(BaseModel):
    """A kind of job."""

    kind: str
    problem: str | None = Field(description="Why this server cannot process jobs of this kind; null if it can.")


class QueueCountView(BaseModel):
    """How full one queue is, with the jobs of all API keys."""

    queue: str
    waiting: int = Field(description="Jobs that no worker has taken yet.")
    running: int = Field(description="Jobs that workers have taken.")
    workers: int = Field(description="Workers that take jobs from it now.")


class CapabilityList(BaseModel):
    """All kinds of job, the queues that they wait in, and the version of the server."""

    version: str = Field(description="The version of the server that answers.")
    queues: list[QueueCountView]
    kinds: list[CapabilityView]


@router.get(
    "/v1/models",
    operation_id="listModels",
    summary="List the models",
    responses={
        200: {
            "description": "The models; with the header `X-Prodia-Key`, an array of their names, as in Prodia's v1.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": '["house"]'}},
        },
        **LISTING_MODELS,
    },
)
async def list_models(gateway: GatewayState, caller: CurrentCaller) -> ModelList:
    """Every model of the catalog. `problem` says why a model cannot be used."""
    noted = await gateway.watcher.model_problems()
    backends = await gateway.watcher.model_backends()
    return await run_in_threadpool(_model_list, gateway.catalog.current(), noted, backends)


def _model_list(catalog: Catalog, noted: Mapping[str, str], backends: Mapping[str, ModelBackend]) -> ModelList:
    views = [_model_view(spec, catalog, noted.get(spec.name), backends.get(spec.name)) for spec in catalog.values()]
    return ModelList(models=views, data=[openai_model(spec) for spec in catalog.values()])


def _model_view(spec: ModelSpec, catalog: Catalog, noted: str | None, backend: ModelBackend | None) -> ModelView:
    problem = _local_problem(spec) or (None if noted is None else without_paths(noted, spec))
    return ModelView(
        name=spec.name,
        family=spec.family,
        source=None if spec.repository is None else spec.source,
        is_default=spec.name == catalog.default,
        is_available=problem is None,
        problem=problem,
        download=_download_view(spec),
        defaults=spec.defaults,
        limits=spec.limits,
        aliases=spec.aliases,
        licence=spec.licence,
        native_px=spec.native_px,
        backend=None if backend is None else backend.backend,
        relative_error=None if backend is None else backend.relative_error,
    )


def _download_view(spec: ModelSpec) -> DownloadView | None:
    begun = download_of(spec)
    if begun is None:
        return None
    return DownloadView(
        done_bytes=begun.done_bytes,
        total_bytes=begun.total_bytes,
        bytes_per_s=begun.bytes_per_s,
        is_running=begun.is_running,
    )


def _local_problem(spec: ModelSpec) -> str | None:
    """What is wrong with the files of the model, without their paths, which clients must not learn."""
    if spec.problem() is None:
        return None
    broken = spec.weights_problem()
    if broken is not None:
        return broken
    if spec.vae is not None and not spec.vae.is_file():
        return "its VAE is missing"
    return "its file is missing" if spec.folder is None else "its folder holds no diffusers pipeline"


def without_paths(text: str, spec: ModelSpec) -> str:
    """``text`` with every path on the server's disk replaced by ``[path]``."""
    return _ABSOLUTE_PATH.sub("[path]", text.replace(str(spec.folder or spec.file), "[path]"))


class LimitsView(BaseModel):
    """What one request may cost; null sets no limit."""

    source_px: int | None = Field(description="Pixels of all images that a job starts from, together.")
    output_px: int | None = Field(description="Pixels of an image that a job makes.")
    step_px: int | None = Field(
        description="Pixels times steps, of all images of a request; enlarging an image counts its result once."
    )
    peak_bytes: int | None = Field(description="Memory for the images of one job, without models.")


@router.get("/v1/limits", operation_id="listLimits", summary="List what a request may cost", responses=LISTING)
async def list_limits(gateway: GatewayState, caller: CurrentCaller) -> LimitsView:
    """The limits of the API key. A request above one of them is refused with the problem code `too_costly`."""
    return LimitsView(**asdict(gateway.jobs.limits_of(caller)))


@router.get("/v1/samplers", operation_id="listSamplers", summary="List the samplers", responses=LISTING)
async def list_samplers(caller: CurrentCaller) -> SamplerList:
    """Every sampler by the name that requests use. `problem` says why a sampler is refused."""
    usable = [SamplerView(name=name, problem=None) for name in SAMPLERS]
    return SamplerList(samplers=usable + [SamplerView(name=name, problem=why) for name, why in REFUSED.items()])


@router.get(
    "/v1/capabilities",
    operation_id="listCapabilities",
    summary="List the kinds of job and how full their queues are",
    responses=LISTING,
)
async def list_capabilities(gateway: GatewayState, caller: CurrentCaller) -> CapabilityList:
    """Every kind of job, and how full the queues are. `problem` says why this server cannot process a kind."""
    catalog, kinds = gateway.catalog.current(), job_kinds()
    counts = await gateway.queues.count(sorted({kind.queue for kind in kinds}))
    return CapabilityList(
        version=server_version(),
        queues=[
            QueueCountView(queue=name, waiting=count.waiting, running=count.running, workers=len(count.workers))
            for name, count in counts.items()
        ],
        kinds=[CapabilityView(kind=kind.name, problem=kind.problem(catalog)) for kind in kinds],
    )
