"""The routes of A1111's ControlNet extension."""

from __future__ import annotations

from fastapi import APIRouter, Request

from models.catalog.catalog import Catalog
from models.catalog.preprocessors import PREPROCESSORS, Preprocessor, Threshold
from models.errors import ProblemCode, quoted
from models.jobs.auxiliary_checks import preprocessor_problem
from models.jobs.params import CONTROLS_MAX
from service.api.auth import CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.errors import invalid_field
from service.api.sdapi.controlnet.schemas import (
    DetectBody,
    ModelListView,
    ModuleListView,
    ModuleView,
    SettingsView,
    SliderView,
    VersionView,
)
from service.api.sdapi.errors import READING, responses
from service.api.sdapi.names import controlnet_title
from service.api.sdapi.schemas import EXAMPLE_IMAGE
from service.api.state import GatewayState

router = APIRouter(tags=["a1111"])


@router.get("/controlnet/version", operation_id="sdControlNetVersion", summary="Read the version", responses=READING)
async def get_version(caller: CurrentBasicCaller) -> VersionView:
    """The version of the extension's interface."""
    return VersionView()


@router.get("/controlnet/model_list", operation_id="sdControlNets", summary="List the ControlNets", responses=READING)
def list_controlnets(gateway: GatewayState, caller: CurrentBasicCaller) -> ModelListView:
    """Every ControlNet whose file exists."""
    found = gateway.catalog.current().controlnets.values()
    return ModelListView(model_list=[controlnet_title(extra) for extra in found if extra.problem() is None])


@router.get(
    "/controlnet/module_list", operation_id="sdControlNetModules", summary="List the modules", responses=READING
)
async def list_modules(gateway: GatewayState, caller: CurrentBasicCaller) -> ModuleListView:
    """Every preprocessor that can be used. `GET /v1/preprocessors` also lists the others, with the reasons."""
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


@router.get("/controlnet/settings", operation_id="sdControlNetSettings", summary="Read the settings", responses=READING)
async def get_settings(caller: CurrentBasicCaller) -> SettingsView:
    """The largest number of ControlNets in one request."""
    return SettingsView(control_net_unit_count=CONTROLS_MAX)


@router.post(
    "/controlnet/detect",
    operation_id="sdControlNetDetect",
    summary="Preprocess images: refused",
    openapi_extra=json_body(DetectBody, {"controlnet_module": "canny", "controlnet_input_images": [EXAMPLE_IMAGE]}),
    responses=responses(401, 413, 422, 503),
)
async def detect(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> None:
    """Refused: a preprocessor runs as a part of txt2img or img2img, and its result is not returned."""
    body = await read_body(request, DetectBody, has_images=True)
    reason = f"not available: {quoted(body.controlnet_module)} only runs within txt2img and img2img, as a unit's module"
    raise invalid_field("controlnet_module", reason, ProblemCode.UNAVAILABLE)
