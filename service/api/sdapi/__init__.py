"""The A1111 dialect: ``/sdapi/v1`` and the few routes beside it, as clients of stable-diffusion-webui know them."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.sdapi import (
    controlnet_routes,
    drawing,
    extras,
    housekeeping,
    listings,
    options,
    progress,
)
from service.api.sdapi.controlnet import ControlNetUnit
from service.api.sdapi.controlnet_routes import DetectBody
from service.api.sdapi.errors import DIALECT
from service.api.sdapi.extras_bodies import BatchBody, PngInfoBody, SingleBody
from service.api.sdapi.fields import SdImg2ImgBody, SdTxt2ImgBody
from service.api.sdapi.housekeeping import InterrogateBody
from service.api.sdapi.options import OptionsBody
from service.api.sdapi.progress import TaskBody

__all__ = ["DIALECT", "WIRE_MODELS", "router"]

WIRE_MODELS: tuple[type[BaseModel], ...] = (
    SdTxt2ImgBody, SdImg2ImgBody, ControlNetUnit, SingleBody, BatchBody, PngInfoBody, InterrogateBody, OptionsBody,
    TaskBody, DetectBody,
)  # fmt: skip
"""The bodies that routes read themselves."""

router = APIRouter()
for _module in (drawing, extras, progress, options, listings, housekeeping, controlnet_routes):
    router.include_router(_module.router)
