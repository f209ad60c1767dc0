"""A1111's API: ``/sdapi/v1`` and a few other routes, as clients of stable-diffusion-webui use them."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.sdapi import listings, routes, server
from service.api.sdapi.controlnet import routes as controlnet
from service.api.sdapi.controlnet.schemas import ControlNetUnit, DetectBody
from service.api.sdapi.errors import DIALECT
from service.api.sdapi.extras import routes as extras
from service.api.sdapi.extras.schemas import BatchBody, PngInfoBody, SingleBody
from service.api.sdapi.options import routes as options
from service.api.sdapi.options.routes import OptionsBody
from service.api.sdapi.progress import routes as progress
from service.api.sdapi.progress.schemas import TaskBody
from service.api.sdapi.schemas import SdImg2ImgBody, SdTxt2ImgBody
from service.api.sdapi.server import InterrogateBody

__all__ = ["DIALECT", "OPENAPI_MODELS", "router"]

OPENAPI_MODELS: tuple[type[BaseModel], ...] = (
    SdTxt2ImgBody, SdImg2ImgBody, ControlNetUnit, SingleBody, BatchBody, PngInfoBody, InterrogateBody, OptionsBody,
    TaskBody, DetectBody,
)  # fmt: skip
"""Models for the OpenAPI document that routes parse without FastAPI."""

router = APIRouter()
for _module in (routes, extras, progress, options, listings, server, controlnet):
    router.include_router(_module.router)
