"""The routes of A1111's ControlNet extension."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from models.catalog.catalog import Catalog
from models.catalog.preprocessors import PREPROCESSORS, Preprocessor, Threshold
from models.errors import FieldProblem, InvalidTicket
from models.jobs.auxiliary_checks import preprocessor_problem
from models.jobs.params import CONTROLS_MAX
from service.api.auth import CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.sdapi.errors import READING, answers
from service.api.sdapi.fields import EXAMPLE_IMAGE, SdBody
from service.api.sdapi.names import controlnet_title
from service.api.state import GatewayState

router = APIRouter(tags=["a1111"])

_VERSION = 2
"""Of the extension's interface, whose units these are."""


class VersionView(BaseModel):
    """The interface's version."""

    version: int = _VERSION


class ModelListView(BaseModel):
    """The ControlNets."""

    model_list: list[str]


class SliderView(BaseModel):
    """What a threshold of a module means."""

    name: str
    value: float
    min: float
    max: float


class ModuleView(BaseModel):
    """A module."""

    model_free: bool
    sliders: list[SliderView]


class ModuleListView(BaseModel):
    """The modules."""

    module_list: list[str]
    module_detail: dict[str, ModuleView]


class SettingsView(BaseModel):
    """The extension's settings."""

    control_net_unit_count: int = Field(description="How many units a call may have.")


class DetectBody(SdBody):
    """Images to preprocess."""

    controlnet_module: str = Field("none", description="From `GET /controlnet/module_list`.")
    controlnet_input_images: list[str] = Field([], description="Base64.")


@router.get("/controlnet/version", operation_id="sdControlNetVersion", summary="The version", responses=READING)
async def get_version(caller: CurrentBasicCaller) -> VersionView:
    """Of the extension's interface."""
    return VersionView()


@router.get("/controlnet/model_list", operation_id="sdControlNets", summary="The ControlNets", responses=READING)
def list_controlnets(gateway: GatewayState, caller: CurrentBasicCaller) -> ModelListView:
    """Every ControlNet whose file is there."""
    found = gateway.catalog.current().controlnets.values()
    return ModelListView(model_list=[controlnet_title(extra) for extra in found if extra.problem() is None])


@router.get("/controlnet/module_list", operation_id="sdControlNetModules", summary="The modules", responses=READING)
async def list_modules(gateway: GatewayState, caller: CurrentBasicCaller) -> ModuleListView:
    """Every preprocessor that can be used; `GET /v1/preprocessors` also has the others, and why they cannot."""
    usable = _usable(gateway.catalog.current())
    return ModuleListView(
        module_list=[each.name for each in usable],
        module_detail={each.name: ModuleView(model_free=False, sliders=_sliders(each)) for each in usable},
    )


def _usable(catalog: Catalog) -> list[Preprocessor]:
    return [each for each in PREPROCESSORS.values() if preprocessor_problem(each, catalog) is None]


def _sliders(preprocessor: Preprocessor) -> list[SliderView]:
    thresholds = (preprocessor.threshold_a, preprocessor.threshold_b)
    return [_slider(threshold) for threshold in thresholds if threshold is not None]


def _slider(threshold: Threshold) -> SliderView:
    return SliderView(name=threshold.meaning, value=threshold.default, min=threshold.low, max=threshold.high)


@router.get("/controlnet/settings", operation_id="sdControlNetSettings", summary="The settings", responses=READING)
async def get_settings(caller: CurrentBasicCaller) -> SettingsView:
    """How many ControlNets a call may use."""
    return SettingsView(control_net_unit_count=CONTROLS_MAX)


@router.post(
    "/controlnet/detect",
    operation_id="sdControlNetDetect",
    summary="Preprocess images: refused",
    openapi_extra=json_body(DetectBody, {"controlnet_module": "canny", "controlnet_input_images": [EXAMPLE_IMAGE]}),
    responses=answers(401, 413, 422, 503),
)
async def detect(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> None:
    """Preprocessors are run where images are drawn, and give nothing back."""
    body = await read_body(request, DetectBody)
    reason = f"not available: {body.controlnet_module!r} is run while an image is drawn; name it in a unit's module"
    raise InvalidTicket([FieldProblem("controlnet_module", reason)])
