"""A1111's listings of models, samplers and other names; names that this server cannot use are left out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.catalog import Catalog
from models.catalog.faces import restore_problem
from models.catalog.samplers import LAYOUTS, LISTED, find_sampler
from models.catalog.styles import STYLES
from models.catalog.trained_names import trained_name
from models.catalog.upscalers import KNOWN_UPSCALERS, upscaler_problem
from service.api.auth import CurrentBasicCaller
from service.api.sdapi.errors import READING
from service.api.sdapi.names import model_file, model_hash, model_title
from service.api.state import GatewayState

router = APIRouter(tags=["a1111"])

_SCALE = 4
"""The factor that upscaling networks usually are trained for."""
_REAL_ESRGAN = "R-ESRGAN"
_RHOS, _NO_RHO = {"karras": 7.0, "polyexponential": 1.0}, -1.0
_WITH_INNER_MODEL = ("sgm_uniform", "simple", "normal", "ddim")
"""What A1111 says about its schedulers."""
_SCHEDULERS = {" Karras": "karras", " Exponential": "exponential"}


class _View(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


class ModelItem(_View):
    """A model."""

    title: str = Field(description="The value of the option `sd_model_checkpoint`.")
    model_name: str
    hash: str = Field(description="A hash of the catalog's entry, not of the files.")
    sha256: str | None = None
    filename: str
    config: str | None = None


class SamplerItem(_View):
    """A sampler."""

    name: str
    aliases: list[str]
    options: dict[str, str] = Field(description="`scheduler` is the scheduler that `Automatic` means.")


class SchedulerItem(_View):
    """A noise schedule."""

    name: str
    label: str
    aliases: list[str] | None = None
    default_rho: float = -1
    need_inner_model: bool = False


class UpscalerItem(_View):
    """An upscaler."""

    name: str
    model_name: str | None = None
    model_path: str | None = None
    model_url: str | None = None
    scale: float = _SCALE


class LoraItem(_View):
    """A LoRA; prompts use it as `<lora:name:weight>`."""

    name: str
    alias: str
    path: str
    metadata: dict[str, str] = {}


class EmbeddingItem(_View):
    """An embedding; the fields are null, because only workers read its file."""

    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    shape: int | None = None
    vectors: int | None = None


class EmbeddingsView(_View):
    """All embeddings; prompts use them by their names."""

    loaded: dict[str, EmbeddingItem]
    skipped: dict[str, EmbeddingItem] = Field(description="Those whose file is missing.")


class FaceRestorerItem(_View):
    """A model that restores faces."""

    name: str
    cmd_dir: str | None = None


class RealesrganItem(_View):
    """A Real-ESRGAN upscaler."""

    name: str
    path: str | None = None
    scale: int = _SCALE


class StyleItem(_View):
    """A style."""

    name: str
    prompt: str
    negative_prompt: str


@router.get("/sdapi/v1/sd-models", operation_id="sdListModels", summary="List the models", responses=READING)
async def list_models(gateway: GatewayState, caller: CurrentBasicCaller) -> list[ModelItem]:
    """Every model that can be used, as far as is known."""
    problems = await gateway.watcher.model_problems()
    return await run_in_threadpool(_models, gateway.catalog.current(), set(problems))


def _models(catalog: Catalog, broken: set[str]) -> list[ModelItem]:
    usable = (spec for spec in catalog.values() if spec.name not in broken and spec.problem() is None)
    return [
        ModelItem(title=model_title(spec), model_name=spec.name, hash=model_hash(spec), filename=model_file(spec))
        for spec in usable
    ]


@router.get("/sdapi/v1/samplers", operation_id="sdListSamplers", summary="List the samplers", responses=READING)
async def list_samplers(caller: CurrentBasicCaller) -> list[SamplerItem]:
    """Every sampler that can be used, with and without a scheduler in its name."""
    return [SamplerItem(name=name, aliases=[_alias(name)], options=_options(name)) for name in LISTED]


def _alias(name: str) -> str:
    """A1111's short name, such as ``k_dpmpp_2m_ka``."""
    words = name.lower().replace("++", "pp").split()
    return "_".join(("k", *({"karras": "ka", "exponential": "exp"}.get(word, word) for word in words)))


def _options(name: str) -> dict[str, str]:
    automatic = find_sampler(name, "Automatic") or name
    scheduler = next((name for ending, name in _SCHEDULERS.items() if automatic.endswith(ending)), None)
    return {} if scheduler is None else {"scheduler": scheduler}


@router.get("/sdapi/v1/schedulers", operation_id="sdListSchedulers", summary="List the schedulers", responses=READING)
async def list_schedulers(caller: CurrentBasicCaller) -> list[SchedulerItem]:
    """Every scheduler. Not every sampler supports every scheduler."""
    return [
        SchedulerItem(name="automatic", label="Automatic"),
        SchedulerItem(name="uniform", label="Uniform", need_inner_model=True),
        *(_scheduler(layout) for layout in (*LAYOUTS, "Polyexponential")),
    ]


def _scheduler(label: str) -> SchedulerItem:
    name = label.lower().replace(" ", "_")
    return SchedulerItem(
        name=name,
        label=label,
        default_rho=_RHOS.get(name, _NO_RHO),
        need_inner_model=name in _WITH_INNER_MODEL,
    )


@router.get("/sdapi/v1/upscalers", operation_id="sdListUpscalers", summary="List the upscalers", responses=READING)
async def list_upscalers(gateway: GatewayState, caller: CurrentBasicCaller) -> list[UpscalerItem]:
    """`None`, and every upscaler that can be used."""
    return [UpscalerItem(name=name) for name in ("None", *_upscalers(gateway.catalog.current().upscalers))]


@router.get(
    "/sdapi/v1/realesrgan-models",
    operation_id="sdListRealesrgan",
    summary="List the Real-ESRGAN upscalers",
    responses=READING,
)
async def list_realesrgan(gateway: GatewayState, caller: CurrentBasicCaller) -> list[RealesrganItem]:
    """Every Real-ESRGAN upscaler that can be used."""
    names = _upscalers(gateway.catalog.current().upscalers)
    return [RealesrganItem(name=name) for name in names if name.startswith(_REAL_ESRGAN)]


def _upscalers(extras: AuxiliaryModels) -> list[str]:
    return [name for name in dict.fromkeys((*KNOWN_UPSCALERS, *extras)) if upscaler_problem(name, extras) is None]


@router.get("/sdapi/v1/loras", operation_id="sdListLoras", summary="List the LoRAs", responses=READING)
def list_loras(gateway: GatewayState, caller: CurrentBasicCaller) -> list[LoraItem]:
    """Every LoRA whose file exists."""
    found = (extra for extra in gateway.catalog.current().loras.values() if extra.problem() is None)
    return [LoraItem(name=each.name, alias=_lora_alias(each), path=each.path.name) for each in found]


def _lora_alias(lora: AuxiliaryModel) -> str:
    """Another name of the LoRA, or the one that it was trained under, as A1111 shows it."""
    return next(iter(lora.aliases), trained_name(lora.path) or lora.name)


@router.get("/sdapi/v1/embeddings", operation_id="sdListEmbeddings", summary="List the embeddings", responses=READING)
def list_embeddings(gateway: GatewayState, caller: CurrentBasicCaller) -> EmbeddingsView:
    """Every textual-inversion embedding."""
    embeddings = gateway.catalog.current().embeddings
    missing = {extra.name for extra in embeddings.values() if extra.problem() is not None}
    return EmbeddingsView(
        loaded={name: EmbeddingItem() for name in embeddings if name not in missing},
        skipped={name: EmbeddingItem() for name in missing},
    )


@router.get(
    "/sdapi/v1/face-restorers", operation_id="sdListFaceRestorers", summary="List the face restorers", responses=READING
)
async def list_face_restorers(gateway: GatewayState, caller: CurrentBasicCaller) -> list[FaceRestorerItem]:
    """GFPGAN, if the catalog has its weights."""
    can_restore = restore_problem(gateway.catalog.current().faces) is None
    return [FaceRestorerItem(name="GFPGAN")] if can_restore else []


@router.get("/sdapi/v1/prompt-styles", operation_id="sdListStyles", summary="List the styles", responses=READING)
async def list_styles(caller: CurrentBasicCaller) -> list[StyleItem]:
    """Every style preset; `{prompt}` stands for the prompt of the request."""
    return [
        StyleItem(
            name=style.name,
            prompt=", ".join(filter(None, (f"{style.prefix} {{prompt}}".strip(), style.suffix))),
            negative_prompt=style.negative,
        )
        for style in STYLES.values()
    ]


def _list_none(caller: CurrentBasicCaller) -> list[Any]:
    """An empty list: this server has none."""
    return []


for _path, _operation, _what in (
    ("sd-vae", "sdListVaes", "List the VAEs: none"),
    ("sd-modules", "sdListModules", "List Forge's VAEs and text encoders: none"),
    ("hypernetworks", "sdListHypernetworks", "List the hypernetworks: none"),
    ("latent-upscale-modes", "sdListLatentUpscaleModes", "List the latent upscale modes: none"),
    ("extensions", "sdListExtensions", "List the extensions: none"),
):
    router.get(f"/sdapi/v1/{_path}", operation_id=_operation, summary=_what, responses=READING)(_list_none)
