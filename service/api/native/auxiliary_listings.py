"""The native listings of LoRAs, embeddings, ControlNets, upscalers, preprocessors and styles."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.catalog import Catalog
from models.catalog.preprocessors import PREPROCESSORS, Threshold
from models.catalog.styles import STYLES
from models.catalog.upscalers import KNOWN_UPSCALERS, upscaler_problem
from models.errors import Problem
from models.jobs.auxiliary_checks import preprocessor_problem
from service.api.auth import CurrentCaller
from service.api.native.errors import LISTING
from service.api.state import GatewayState

router = APIRouter(tags=["listings"])


class AuxiliaryModelView(BaseModel):
    """A LoRA, embedding or ControlNet of the catalog."""

    name: str
    family: str | None = Field(
        description="The family of models that it fits; null if that is only known once it is loaded."
    )
    aliases: tuple[str, ...]
    licence: str
    problem: str | None = Field(description="Why it cannot be used; null if it can, as far as is known.")


class LoraList(BaseModel):
    """All LoRAs."""

    loras: list[AuxiliaryModelView]


class EmbeddingList(BaseModel):
    """All textual-inversion embeddings."""

    embeddings: list[AuxiliaryModelView]


class ControlNetList(BaseModel):
    """All ControlNets."""

    controlnets: list[AuxiliaryModelView]


class UpscalerView(BaseModel):
    """An upscaler."""

    name: str
    problem: str | None = Field(description="Why it cannot be used; null if it can.")


class UpscalerList(BaseModel):
    """All upscalers."""

    upscalers: list[UpscalerView]


class PreprocessorView(BaseModel):
    """A preprocessor of images for ControlNets."""

    name: str
    description: str
    threshold_a: Threshold | None = Field(
        description="Null if the preprocessor has no such threshold; likewise `threshold_b`."
    )
    threshold_b: Threshold | None
    problem: str | None = Field(description="Why it cannot be used; null if it can.")


class PreprocessorList(BaseModel):
    """All preprocessors."""

    preprocessors: list[PreprocessorView]


class StyleView(BaseModel):
    """A style preset."""

    name: str
    prefix: str = Field(description="The text before the prompt.")
    suffix: str = Field(description="The text after the prompt.")
    negative: str = Field(description="The text after the negative prompt.")


class StyleList(BaseModel):
    """All style presets."""

    styles: list[StyleView]


@router.get("/v1/loras", operation_id="listLoras", summary="List the LoRAs", responses=LISTING)
def list_loras(gateway: GatewayState, caller: CurrentCaller) -> LoraList:
    """Every LoRA of the catalog."""
    return LoraList(loras=_views(gateway.catalog.current().loras))


@router.get("/v1/embeddings", operation_id="listEmbeddings", summary="List the embeddings", responses=LISTING)
def list_embeddings(gateway: GatewayState, caller: CurrentCaller) -> EmbeddingList:
    """Every textual-inversion embedding of the catalog. Prompts use an embedding by its name."""
    return EmbeddingList(embeddings=_views(gateway.catalog.current().embeddings))


@router.get("/v1/controlnets", operation_id="listControlNets", summary="List the ControlNets", responses=LISTING)
def list_controlnets(gateway: GatewayState, caller: CurrentCaller) -> ControlNetList:
    """Every ControlNet of the catalog."""
    return ControlNetList(controlnets=_views(gateway.catalog.current().controlnets))


def _views(extras: AuxiliaryModels) -> list[AuxiliaryModelView]:
    return [_view(extra) for extra in extras.values()]


def _view(extra: AuxiliaryModel) -> AuxiliaryModelView:
    return AuxiliaryModelView(
        name=extra.name,
        family=extra.fitting_family,
        aliases=extra.aliases,
        licence=extra.licence,
        problem=None if extra.problem() is None else extra.weights_problem() or "its file is missing",
    )


@router.get("/v1/upscalers", operation_id="listUpscalers", summary="List the upscalers", responses=LISTING)
def list_upscalers(gateway: GatewayState, caller: CurrentCaller) -> UpscalerList:
    """Every upscaler by the name that requests use. `problem` says why an upscaler cannot be used."""
    upscalers = gateway.catalog.current().upscalers
    names = dict.fromkeys((*KNOWN_UPSCALERS, *upscalers))
    return UpscalerList(
        upscalers=[UpscalerView(name=name, problem=_message(upscaler_problem(name, upscalers))) for name in names]
    )


@router.get("/v1/preprocessors", operation_id="listPreprocessors", summary="List the preprocessors", responses=LISTING)
def list_preprocessors(gateway: GatewayState, caller: CurrentCaller) -> PreprocessorList:
    """Every preprocessor by the name that requests use. `problem` says why a preprocessor cannot be used."""
    return PreprocessorList(preprocessors=_preprocessors(gateway.catalog.current()))


def _preprocessors(catalog: Catalog) -> list[PreprocessorView]:
    return [
        PreprocessorView(
            name=each.name,
            description=each.description,
            threshold_a=each.threshold_a,
            threshold_b=each.threshold_b,
            problem=preprocessor_problem(each, catalog),
        )
        for each in PREPROCESSORS.values()
    ]


@router.get("/v1/styles", operation_id="listStyles", summary="List the style presets", responses=LISTING)
async def list_styles(caller: CurrentCaller) -> StyleList:
    """Every style preset, with the texts that it adds to prompts."""
    styles = STYLES.values()
    return StyleList(
        styles=[
            StyleView(name=style.name, prefix=style.prefix, suffix=style.suffix, negative=style.negative)
            for style in styles
        ]
    )


def _message(problem: Problem | None) -> str | None:
    return None if problem is None else problem.message
