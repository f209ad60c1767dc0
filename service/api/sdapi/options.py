"""The options of a key: what its later calls take where they say nothing; no other key notices."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import RootModel

from models.jobs.checks import Problems
from service.api.auth import CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.sdapi.errors import READING, answers
from service.api.sdapi.settings import read_options, show_options
from service.api.state import GatewayState

router = APIRouter(tags=["a1111"])


class OptionsBody(RootModel[dict[str, Any]]):
    """Options by name. `sd_model_checkpoint`, `CLIP_stop_at_last_layers`, `samples_format` and `jpeg_quality` count."""


@router.get("/sdapi/v1/options", operation_id="sdGetOptions", summary="My options", responses=READING)
async def get_options(gateway: GatewayState, caller: CurrentBasicCaller) -> dict[str, Any]:
    """This key's options, and those that are the same for everybody."""
    return show_options(await gateway.callers.options(caller.key_id), gateway.catalog.current())


@router.post(
    "/sdapi/v1/options",
    operation_id="sdSetOptions",
    summary="Set my options",
    openapi_extra=json_body(OptionsBody, {"sd_model_checkpoint": "house"}),
    responses=answers(401, 413, 422, 503),
)
async def set_options(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> None:
    """Kept for this key alone, for 30 days after their last use. Options that cannot be had are refused."""
    body = await read_body(request, OptionsBody)
    problems = Problems()
    kept = read_options(body.root, gateway.catalog.current(), problems)
    problems.raise_if_any()
    await gateway.callers.set_options(caller.key_id, kept)
