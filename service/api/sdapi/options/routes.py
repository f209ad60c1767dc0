"""The routes that read and set the options of an API key; they do not affect other keys."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import RootModel

from models.jobs.checks import Problems
from service.api.auth import BasicSubmitter, CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.sdapi.errors import CHANGING, READING
from service.api.sdapi.options.translate import read_options, show_options
from service.api.state import GatewayState

router = APIRouter(tags=["a1111"])


class OptionsBody(RootModel[dict[str, Any]]):
    """Options by name.

    `sd_model_checkpoint`, `CLIP_stop_at_last_layers`, `samples_format`, `jpeg_quality` and `enable_pnginfo` have an
    effect.
    """


@router.get("/sdapi/v1/options", operation_id="sdGetOptions", summary="Read the options", responses=READING)
async def get_options(gateway: GatewayState, caller: CurrentBasicCaller) -> dict[str, Any]:
    """The options of the API key, and options that have one value for all keys."""
    return show_options(await gateway.callers.options(caller.key_id), gateway.catalog.current())


@router.post(
    "/sdapi/v1/options",
    operation_id="sdSetOptions",
    summary="Set options",
    openapi_extra=json_body(OptionsBody, {"sd_model_checkpoint": "house"}),
    responses=CHANGING,
)
async def set_options(request: Request, gateway: GatewayState, caller: BasicSubmitter) -> None:
    """Store options of the API key, for 30 days after their last use. Options that are not available are refused."""
    body = await read_body(request, OptionsBody)
    problems = Problems()
    stored = read_options(body.root, gateway.catalog.current(), problems)
    problems.raise_if_any()
    await gateway.callers.set_options(caller.key_id, stored)
