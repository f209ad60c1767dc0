"""The native listing of vision models: those of the catalog, and those of timm that can be added to it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from models.catalog.timm_models import TimmModel, TimmWeights, timm_models, timm_weights
from models.catalog.vision import VisionModels, VisionSpec
from service.api.auth import CurrentCaller
from service.api.native.errors import FILTERING
from service.api.state import GatewayState

FILTER_MAX_CHARS = 100
LISTED_MAX = 500

router = APIRouter(tags=["listings"])


class VisionModelView(BaseModel):
    """A vision model."""

    name: str = Field(description="For jobs if it is in the catalog, else for `photogram models add timm/NAME`.")
    is_in_catalog: bool
    architecture: str | None = Field(description="timm's name; null if only a worker knows it.")
    parameters: int | None = Field(description="The number of weights; null if unknown.")
    input_size: tuple[int, int, int] | None = Field(description="Channels, height and width; null if unknown.")
    classes: int | None = Field(description="How many classes the published classifier has; null if unknown.")
    licence: str
    pretrained: tuple[str, ...] = Field(description="The tags of the published weights, the default one first.")
    problem: str | None = Field(description="Why it cannot be used; null if it can, as far as is known.")


class VisionModelList(BaseModel):
    """Vision models, those of the catalog first."""

    models: list[VisionModelView]
    total: int = Field(description="How many models the filters leave, of which `models` has the first ones.")


class VisionQuery(BaseModel):
    """Which vision models are listed."""

    model_config = ConfigDict(extra="forbid")
    filter: str = Field("*", max_length=FILTER_MAX_CHARS, description="A pattern for names, as in `*efficientnet*`.")
    pretrained: bool | None = Field(None, description="Only models with published weights, or only those without.")
    catalog: bool | None = Field(None, description="Only models of the catalog, or only the others.")
    limit: int = Field(LISTED_MAX, ge=1, le=LISTED_MAX, description="How many models at most.")


@router.get("/v1/vision/models", operation_id="listVisionModels", summary="List the vision models", responses=FILTERING)
def list_vision_models(
    gateway: GatewayState, caller: CurrentCaller, query: Annotated[VisionQuery, Query()]
) -> VisionModelList:
    """Every vision model of the catalog, and every architecture of timm that can be added to it."""
    ours = _of_catalog(gateway.catalog.current().vision) if query.catalog is not False else []
    timms = [_of_timm(model) for model in timm_models().values()] if query.catalog is not True else []
    pattern, pretrained = query.filter.lower(), query.pretrained
    found = [
        view
        for view in (*ours, *timms)
        if fnmatchcase(view.name.lower(), pattern) and pretrained in (None, bool(view.pretrained))
    ]
    return VisionModelList(models=found[: query.limit], total=len(found))


def _of_catalog(models: VisionModels) -> list[VisionModelView]:
    return [_view(spec) for spec in models.values()]


def _view(spec: VisionSpec) -> VisionModelView:
    name = spec.architecture or _published_in(spec)
    model, weights = (None if name is None else timm_weights(name)) or (None, None)
    return VisionModelView(
        name=spec.name,
        is_in_catalog=True,
        architecture=None if model is None else model.name,
        parameters=None if model is None else model.parameters,
        input_size=_input_size(model, weights),
        classes=spec.classes or (None if weights is None else weights.classes),
        licence=spec.licence,
        pretrained=() if model is None else tuple(each.tag for each in model.pretrained),
        problem=spec.problem(),
    )


def _published_in(spec: VisionSpec) -> str | None:
    """timm's name of the weights in the repository of ``spec``."""
    return None if spec.repository is None else spec.repository.rpartition("/")[2]


def _of_timm(model: TimmModel) -> VisionModelView:
    weights = model.weights("")
    return VisionModelView(
        name=model.name,
        is_in_catalog=False,
        architecture=model.name,
        parameters=model.parameters,
        input_size=_input_size(model, weights),
        classes=None if weights is None else weights.classes,
        licence="" if weights is None else weights.licence,
        pretrained=tuple(each.tag for each in model.pretrained),
        problem=None,
    )


def _input_size(model: TimmModel | None, weights: TimmWeights | None) -> tuple[int, int, int] | None:
    if weights is not None:
        return weights.input_size
    return None if model is None else model.input_size
