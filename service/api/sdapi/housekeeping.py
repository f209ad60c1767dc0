"""What A1111's clients ask of the server itself: whether it lives, what it has, to read its files anew."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from models.errors import FieldProblem, InvalidTicket
from service.api.auth import CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.sdapi.errors import READING, answers
from service.api.sdapi.fields import EXAMPLE_IMAGE, SdBody
from service.api.sdapi.refusals import CONTROLNET
from service.api.state import GatewayState

router = APIRouter(tags=["a1111"])


class MemoryView(BaseModel):
    """The memory of the machine that the gateway runs on."""

    ram: dict[str, float] = Field(description="Bytes: `free`, `used` and `total`.")
    cuda: dict[str, Any] = Field(description="The gateway has no GPU; its workers have.")


class ScriptsView(BaseModel):
    """The scripts by name."""

    txt2img: list[str]
    img2img: list[str]


class ScriptView(BaseModel):
    """A script; its arguments are units of ControlNet, one for each."""

    name: str
    is_alwayson: bool
    is_img2img: bool
    args: list[Any]


class InterrogateBody(SdBody):
    """An image to describe."""

    image: str = Field("", description="Base64.")
    model: str = Field("clip", description="Refused, whatever it is.")


@router.get("/internal/ping", operation_id="sdPing", summary="Does the server live?")
async def ping() -> dict[str, str]:
    """Answers as long as the process does. Needs no key."""
    return {}


@router.get("/sdapi/v1/memory", operation_id="sdMemory", summary="The memory", responses=READING)
def get_memory(caller: CurrentBasicCaller) -> MemoryView:
    """Of the gateway's machine; what workers have is not told."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    total, free = (os.sysconf(name) * page_bytes for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    return MemoryView(ram={"free": free, "used": total - free, "total": total}, cuda={"error": "unavailable"})


@router.get("/sdapi/v1/cmd-flags", operation_id="sdFlags", summary="How the server was started", responses=READING)
async def get_flags(caller: CurrentBasicCaller) -> dict[str, Any]:
    """The few flags of A1111 that mean something here."""
    return {"api": True, "nowebui": True, "api_server_stop": False, "disable_safe_unpickle": False}


@router.get("/sdapi/v1/scripts", operation_id="sdScripts", summary="The scripts", responses=READING)
async def list_scripts(caller: CurrentBasicCaller) -> ScriptsView:
    """ControlNet, which takes its units as a script's arguments."""
    return ScriptsView(txt2img=[CONTROLNET], img2img=[CONTROLNET])


@router.get("/sdapi/v1/script-info", operation_id="sdScriptInfo", summary="The scripts' arguments", responses=READING)
async def list_script_infos(caller: CurrentBasicCaller) -> list[ScriptView]:
    """ControlNet, once for each kind of call."""
    return [
        ScriptView(name=CONTROLNET, is_alwayson=True, is_img2img=is_img2img, args=[]) for is_img2img in (False, True)
    ]


@router.post(
    "/sdapi/v1/interrogate",
    operation_id="sdInterrogate",
    summary="Describe an image: refused",
    openapi_extra=json_body(InterrogateBody, {"image": EXAMPLE_IMAGE, "model": "clip"}),
    responses=answers(401, 413, 422, 503),
)
async def interrogate(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> None:
    """This server has no model that describes images."""
    body = await read_body(request, InterrogateBody)
    reason = f"not available: this server has no model that describes images, and so not {body.model!r}"
    raise InvalidTicket([FieldProblem("model", reason)])


async def _refresh(caller: CurrentBasicCaller) -> None:
    """Nothing to do: the catalog and its folders are read anew whenever they change."""


async def _load(caller: CurrentBasicCaller) -> dict[str, str]:
    """Nothing to do: workers load a model when a job needs it, and unload it when they need its memory."""
    return {}


for _path, _operation in (
    ("refresh-checkpoints", "sdRefreshModels"),
    ("refresh-vae", "sdRefreshVaes"),
    ("refresh-embeddings", "sdRefreshEmbeddings"),
    ("refresh-loras", "sdRefreshLoras"),
):
    router.post(f"/sdapi/v1/{_path}", operation_id=_operation, summary="Read files anew", responses=READING)(_refresh)
for _path, _operation in (("unload-checkpoint", "sdUnloadModel"), ("reload-checkpoint", "sdReloadModel")):
    router.post(f"/sdapi/v1/{_path}", operation_id=_operation, summary="Move the model", responses=READING)(_load)
