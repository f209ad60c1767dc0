"""A1111's lists of what can be asked for; what this server cannot do is not in them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from models.catalog.auxiliary import AuxiliaryModels
from models.catalog.catalog import Catalog
from models.catalog.faces import restore_problem
from models.catalog.samplers import SAMPLERS, find_sampler
from models.catalog.styles import STYLES
from models.catalog.upscalers import KNOWN_UPSCALERS, upscaler_problem
from service.api.auth import CurrentBasicCaller
from service.api.sdapi.errors import READING
from service.api.sdapi.names import model_file, model_hash, model_title
from service.api.state import GatewayState

router = APIRouter(tags=["a1111"])

_SCALE = 4
"""What enlarging networks usually are trained for."""
_REAL_ESRGAN = "R-ESRGAN"
_LAYOUTS = {" Karras": "karras", " Exponential": "exponential"}


class _View(BaseModel):
    model_config = ConfigDict(protected_namespaces=())


class ModelItem(_View):
    """A model."""

    title: str = Field(description="What `sd_model_checkpoint` is set to.")
    model_name: str
    hash: str = Field(description="Stands for the catalog's entry, not for what is in its files.")
    sha256: str | None = None
    filename: str
    config: str | None = None


class SamplerItem(_View):
    """A sampler."""

    name: str
    aliases: list[str]
    options: dict[str, str] = Field(description="`scheduler` is what `Automatic` takes.")


class SchedulerItem(_View):
    """A way to lay out the steps."""

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
    """A LoRA, for `<lora:name:weight>`."""

    name: str
    alias: str
    path: str
    metadata: dict[str, str] = {}


class EmbeddingItem(_View):
    """An embedding; what is in its file, only a worker knows."""

    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    shape: int | None = None
    vectors: int | None = None


class EmbeddingsView(_View):
    """All embeddings, for use by their names in a prompt."""

    loaded: dict[str, EmbeddingItem]
    skipped: dict[str, EmbeddingItem] = Field(description="Those whose file is missing.")


class FaceRestorerItem(_View):
    """What restores faces."""

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


@router.get("/sdapi/v1/sd-models", operation_id="sdListModels", summary="The models", responses=READING)
async def list_models(gateway: GatewayState, caller: CurrentBasicCaller) -> list[ModelItem]:
    """Every model that can be drawn with, as far as is known."""
    noted = await gateway.watcher.model_problems()
    return await run_in_threadpool(_models, gateway.catalog.current(), set(noted))


def _models(catalog: Catalog, broken: set[str]) -> list[ModelItem]:
    usable = (spec for spec in catalog.values() if spec.name not in broken and spec.problem() is None)
    return [
        ModelItem(title=model_title(spec), model_name=spec.name, hash=model_hash(spec), filename=model_file(spec))
        for spec in usable
    ]


@router.get("/sdapi/v1/samplers", operation_id="sdListSamplers", summary="The samplers", responses=READING)
async def list_samplers(caller: CurrentBasicCaller) -> list[SamplerItem]:
    """Every sampler that can be used, with and without the layout of its steps in its name."""
    return [SamplerItem(name=name, aliases=[_alias(name)], options=_options(name)) for name in SAMPLERS]


def _alias(name: str) -> str:
    """As ``k_dpmpp_2m_ka``, A1111's way to write it in one word."""
    words = name.lower().replace("++", "pp").split()
    return "_".join(("k", *({"karras": "ka", "exponential": "exp"}.get(word, word) for word in words)))


def _options(name: str) -> dict[str, str]:
    automatic = find_sampler(name, "Automatic") or name
    layout = next((layout for ending, layout in _LAYOUTS.items() if automatic.endswith(ending)), None)
    return {} if layout is None else {"scheduler": layout}


@router.get("/sdapi/v1/schedulers", operation_id="sdListSchedulers", summary="Ways to lay out steps", responses=READING)
async def list_schedulers(caller: CurrentBasicCaller) -> list[SchedulerItem]:
    """Every scheduler; not each goes with each sampler."""
    return [
        SchedulerItem(name="automatic", label="Automatic"),
        SchedulerItem(name="uniform", label="Uniform", need_inner_model=True),
        SchedulerItem(name="karras", label="Karras", default_rho=7),
        SchedulerItem(name="exponential", label="Exponential"),
    ]


@router.get("/sdapi/v1/upscalers", operation_id="sdListUpscalers", summary="The upscalers", responses=READING)
async def list_upscalers(gateway: GatewayState, caller: CurrentBasicCaller) -> list[UpscalerItem]:
    """Every upscaler that has its weights, after `None`."""
    return [UpscalerItem(name=name) for name in ("None", *_upscalers(gateway.catalog.current().upscalers))]


@router.get("/sdapi/v1/realesrgan-models", operation_id="sdListRealesrgan", summary="Real-ESRGAN", responses=READING)
async def list_realesrgan(gateway: GatewayState, caller: CurrentBasicCaller) -> list[RealesrganItem]:
    """Those of the upscalers that are Real-ESRGAN's."""
    names = _upscalers(gateway.catalog.current().upscalers)
    return [RealesrganItem(name=name) for name in names if name.startswith(_REAL_ESRGAN)]


def _upscalers(extras: AuxiliaryModels) -> list[str]:
    return [name for name in dict.fromkeys((*KNOWN_UPSCALERS, *extras)) if upscaler_problem(name, extras) is None]


@router.get("/sdapi/v1/loras", operation_id="sdListLoras", summary="The LoRAs", responses=READING)
def list_loras(gateway: GatewayState, caller: CurrentBasicCaller) -> list[LoraItem]:
    """Every LoRA whose file is there."""
    found = (extra for extra in gateway.catalog.current().loras.values() if extra.problem() is None)
    return [LoraItem(name=each.name, alias=next(iter(each.aliases), each.name), path=each.path.name) for each in found]


@router.get("/sdapi/v1/embeddings", operation_id="sdListEmbeddings", summary="The embeddings", responses=READING)
def list_embeddings(gateway: GatewayState, caller: CurrentBasicCaller) -> EmbeddingsView:
    """Every textual-inversion embedding."""
    embeddings = gateway.catalog.current().embeddings
    lacking = {extra.name for extra in embeddings.values() if extra.problem() is not None}
    return EmbeddingsView(
        loaded={name: EmbeddingItem() for name in embeddings if name not in lacking},
        skipped={name: EmbeddingItem() for name in lacking},
    )


@router.get("/sdapi/v1/face-restorers", operation_id="sdListFaceRestorers", summary="Face restorers", responses=READING)
async def list_face_restorers(gateway: GatewayState, caller: CurrentBasicCaller) -> list[FaceRestorerItem]:
    """GFPGAN, if the catalog has its weights."""
    can_restore = restore_problem(gateway.catalog.current().faces) is None
    return [FaceRestorerItem(name="GFPGAN")] if can_restore else []


@router.get("/sdapi/v1/prompt-styles", operation_id="sdListStyles", summary="The styles", responses=READING)
async def list_styles(caller: CurrentBasicCaller) -> list[StyleItem]:
    """Every style preset, `{prompt}` where the request's own words go."""
    return [
        StyleItem(
            name=style.name,
            prompt=", ".join(filter(None, (f"{style.prefix} {{prompt}}".strip(), style.suffix))),
            negative_prompt=style.negative,
        )
        for style in STYLES.values()
    ]


def _nothing(caller: CurrentBasicCaller) -> list[Any]:
    """An empty list: this server has none."""
    return []


for _path, _operation, _what in (
    ("sd-vae", "sdListVaes", "Decoders apart from their models: none"),
    ("hypernetworks", "sdListHypernetworks", "Hypernetworks: none"),
    ("latent-upscale-modes", "sdListLatentUpscaleModes", "Ways to enlarge latents: none"),
    ("extensions", "sdListExtensions", "Extensions: none"),
):
    router.get(f"/sdapi/v1/{_path}", operation_id=_operation, summary=_what, responses=READING)(_nothing)
