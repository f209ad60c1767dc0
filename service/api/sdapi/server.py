"""The routes about the server itself: its memory, flags and scripts, and requests to reload files."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from models.errors import ProblemCode, quoted
from service.api.auth import CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.errors import invalid_field
from service.api.sdapi.errors import READING, SENDING_JSON
from service.api.sdapi.schemas import EXAMPLE_IMAGE, SdBody
from service.api.sdapi.scripts import CONTROLNET
from service.api.state import GatewayState

router = APIRouter(tags=["a1111"])


class MemoryView(BaseModel):
    """The memory of the machine that the gateway runs on."""

    ram: dict[str, float] = Field(description="Bytes: `free`, `used` and `total`.")
    cuda: dict[str, Any] = Field(description="Only an error: the gateway has no GPU, workers have.")


class ScriptsView(BaseModel):
    """The names of the scripts, by route."""

    txt2img: list[str]
    img2img: list[str]


class ScriptView(BaseModel):
    """A script; the arguments of ControlNet are its units."""

    name: str
    is_alwayson: bool
    is_img2img: bool
    args: list[Any]


class InterrogateBody(SdBody):
    """An image to describe; always refused."""

    image: str = Field("", description="Base64.")
    model: str = Field("clip", description="Always refused.")


@router.get("/internal/ping", operation_id="sdPing", summary="Check whether the server runs")
async def ping() -> dict[str, str]:
    """Answers for as long as the gateway runs. Needs no API key."""
    return {}


@router.get("/sdapi/v1/memory", operation_id="sdMemory", summary="Read the memory", responses=READING)
def get_memory(caller: CurrentBasicCaller) -> MemoryView:
    """The memory of the gateway's machine; that of workers is not shown."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    total, free = (os.sysconf(name) * page_bytes for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    return MemoryView(ram={"free": free, "used": total - free, "total": total}, cuda={"error": "unavailable"})


@router.get("/sdapi/v1/cmd-flags", operation_id="sdFlags", summary="Read the command-line flags", responses=READING)
async def get_flags(caller: CurrentBasicCaller) -> dict[str, Any]:
    """The flags of A1111 that have an equivalent in this server."""
    return {"api": True, "nowebui": True, "api_server_stop": False, "disable_safe_unpickle": False}


@router.get("/sdapi/v1/scripts", operation_id="sdScripts", summary="List the scripts", responses=READING)
async def list_scripts(caller: CurrentBasicCaller) -> ScriptsView:
    """Only ControlNet, whose units are the arguments of its script."""
    return ScriptsView(txt2img=[CONTROLNET], img2img=[CONTROLNET])


@router.get(
    "/sdapi/v1/script-info", operation_id="sdScriptInfo", summary="List the arguments of scripts", responses=READING
)
async def list_script_infos(caller: CurrentBasicCaller) -> list[ScriptView]:
    """ControlNet, once for txt2img and once for img2img."""
    return [
        ScriptView(name=CONTROLNET, is_alwayson=True, is_img2img=is_img2img, args=[]) for is_img2img in (False, True)
    ]


@router.post(
    "/sdapi/v1/interrogate",
    operation_id="sdInterrogate",
    summary="Describe an image: refused",
    openapi_extra=json_body(InterrogateBody, {"image": EXAMPLE_IMAGE, "model": "clip"}),
    responses=SENDING_JSON,
)
async def interrogate(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> None:
    """Refused: this server has no model that describes images."""
    body = await read_body(request, InterrogateBody, has_images=True)
    reason = f"{quoted(body.model)} is not available: this server has no model that describes images"
    raise invalid_field("model", reason, ProblemCode.UNAVAILABLE)


async def _refresh(caller: CurrentBasicCaller) -> None:
    """Accepted without effect: the catalog and its folders are read again whenever they change."""


async def _load(caller: CurrentBasicCaller) -> dict[str, str]:
    """Accepted without effect: workers load a model when a job needs it, and unload it when they need its memory."""
    return {}


for _path, _operation in (
    ("refresh-checkpoints", "sdRefreshModels"),
    ("refresh-vae", "sdRefreshVaes"),
    ("refresh-embeddings", "sdRefreshEmbeddings"),
    ("refresh-loras", "sdRefreshLoras"),
):
    router.post(f"/sdapi/v1/{_path}", operation_id=_operation, summary="Reload files: no effect", responses=READING)(
        _refresh
    )
for _path, _operation in (("unload-checkpoint", "sdUnloadModel"), ("reload-checkpoint", "sdReloadModel")):
    router.post(
        f"/sdapi/v1/{_path}", operation_id=_operation, summary="Load or unload the model: no effect", responses=READING
    )(_load)
