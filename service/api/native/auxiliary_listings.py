"""What an image can be drawn with beside a model: LoRAs, ControlNets, upscalers, preprocessors, styles."""

from __future__ import annotations

from typing import Any

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
from service.api.documentation import problems
from service.api.errors import ErrorCode
from service.api.state import GatewayState

router = APIRouter(tags=["listings"])

_RESPONSES: dict[int | str, dict[str, Any]] = problems(ErrorCode.UNAUTHORIZED)


class HelperView(BaseModel):
    """One LoRA, embedding or ControlNet of the catalog."""

    name: str
    family: str | None = Field(description="The family of models it is made for; null if only its weights tell.")
    aliases: tuple[str, ...]
    licence: str
    problem: str | None = Field(description="Why it cannot be used; null if it can, as far as is known.")


class LoraList(BaseModel):
    """All LoRAs."""

    loras: list[HelperView]


class EmbeddingList(BaseModel):
    """All textual-inversion embeddings."""

    embeddings: list[HelperView]


class ControlNetList(BaseModel):
    """All ControlNets."""

    controlnets: list[HelperView]


class UpscalerView(BaseModel):
    """One upscaler."""

    name: str
    problem: str | None = Field(description="Why it cannot be used; null if it can.")


class UpscalerList(BaseModel):
    """All upscalers."""

    upscalers: list[UpscalerView]


class PreprocessorView(BaseModel):
    """One preprocessor of ControlNets."""

    name: str
    description: str
    threshold_a: Threshold | None = Field(description="Null if it means nothing here; so with `threshold_b`.")
    threshold_b: Threshold | None
    problem: str | None = Field(description="Why it cannot be used; null if it can.")


class PreprocessorList(BaseModel):
    """All preprocessors."""

    preprocessors: list[PreprocessorView]


class StyleView(BaseModel):
    """One style preset."""

    name: str
    prefix: str = Field(description="What is put before the prompt.")
    suffix: str = Field(description="What is put behind the prompt.")
    negative: str = Field(description="What is put behind the negative prompt.")


class StyleList(BaseModel):
    """All style presets."""

    styles: list[StyleView]


@router.get("/v1/loras", operation_id="listLoras", summary="The LoRAs", responses=_RESPONSES)
def list_loras(gateway: GatewayState, caller: CurrentCaller) -> LoraList:
    """Every LoRA of the catalog."""
    return LoraList(loras=_views(gateway.catalog.current().loras))


@router.get("/v1/embeddings", operation_id="listEmbeddings", summary="The embeddings", responses=_RESPONSES)
def list_embeddings(gateway: GatewayState, caller: CurrentCaller) -> EmbeddingList:
    """Every textual-inversion embedding of the catalog; a prompt uses it by its name."""
    return EmbeddingList(embeddings=_views(gateway.catalog.current().embeddings))


@router.get("/v1/controlnets", operation_id="listControlNets", summary="The ControlNets", responses=_RESPONSES)
def list_controlnets(gateway: GatewayState, caller: CurrentCaller) -> ControlNetList:
    """Every ControlNet of the catalog."""
    return ControlNetList(controlnets=_views(gateway.catalog.current().controlnets))


def _views(extras: AuxiliaryModels) -> list[HelperView]:
    return [_view(extra) for extra in extras.values()]


def _view(extra: AuxiliaryModel) -> HelperView:
    return HelperView(
        name=extra.name,
        family=extra.family,
        aliases=extra.aliases,
        licence=extra.licence,
        problem=None if extra.problem() is None else "its file is missing",
    )


@router.get("/v1/upscalers", operation_id="listUpscalers", summary="The upscalers", responses=_RESPONSES)
def list_upscalers(gateway: GatewayState, caller: CurrentCaller) -> UpscalerList:
    """Every upscaler by the name under which requests ask for it, also those that lack their weights."""
    upscalers = gateway.catalog.current().upscalers
    names = dict.fromkeys((*KNOWN_UPSCALERS, *upscalers))
    return UpscalerList(
        upscalers=[UpscalerView(name=name, problem=_message(upscaler_problem(name, upscalers))) for name in names]
    )


@router.get("/v1/preprocessors", operation_id="listPreprocessors", summary="The preprocessors", responses=_RESPONSES)
def list_preprocessors(gateway: GatewayState, caller: CurrentCaller) -> PreprocessorList:
    """Every preprocessor by the name under which ControlNets ask for it, also those that cannot be used."""
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


@router.get("/v1/styles", operation_id="listStyles", summary="The style presets", responses=_RESPONSES)
async def list_styles(caller: CurrentCaller) -> StyleList:
    """Every style preset, with the words that it adds."""
    styles = STYLES.values()
    return StyleList(
        styles=[
            StyleView(name=style.name, prefix=style.prefix, suffix=style.suffix, negative=style.negative)
            for style in styles
        ]
    )


def _message(problem: Problem | None) -> str | None:
    return None if problem is None else problem.message
