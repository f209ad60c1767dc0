"""The lists of Prodia's v1: bare JSON arrays of the names that requests may use, only of what this server can use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match
from starlette.types import Scope

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.catalog.samplers import SAMPLERS
from service.api.auth import CurrentCaller
from service.api.errors import ErrorCode
from service.api.prodia_v1.errors import told
from service.api.state import GatewayState

_HASHED_FROM, _HASHED_BYTES = 0x100000, 0x10000
_HASH_CHARS = 8
Namer = Callable[[Catalog, Mapping[str, str], bool], list[str]]
"""Gives names from the catalog, the problems that workers noted by model, and whether they are for SDXL; blocking."""

router = APIRouter(tags=["prodia v1"])


def model_names(catalog: Catalog, noted: Mapping[str, str], is_sdxl: bool) -> list[str]:
    """Models that can be drawn with; whatever is not SDXL is among the others."""
    able = (spec for spec in catalog.values() if spec.name not in noted and spec.problem() is None)
    return [_model_name(spec, catalog) for spec in able
            if (spec.family == SDXL) == is_sdxl and spec.family != SDXL_REFINER]  # fmt: skip


def _model_name(spec: ModelSpec, catalog: Catalog) -> str:
    """As A1111 shows a model in a single file, ``file.safetensors [0123abcd]``; else the catalog's own name."""
    if spec.file is None or catalog.resolve(spec.file.name) is not spec:
        return spec.name
    try:
        status = spec.file.stat()
        return f"{spec.file.name} [{_short_hash(spec.file, status.st_mtime_ns, status.st_size)}]"
    except OSError:  # the gateway need not be able to read what workers can
        return spec.file.name


@lru_cache(maxsize=1024)
def _short_hash(path: Path, modified_ns: int, size_bytes: int) -> str:
    """A1111's first short hash, by which Prodia tells files apart: of 64 KiB, from the second MiB on."""
    with path.open("rb") as file:
        file.seek(_HASHED_FROM)
        return hashlib.sha256(file.read(_HASHED_BYTES)).hexdigest()[:_HASH_CHARS]


def sampler_names(catalog: Catalog, noted: Mapping[str, str], is_sdxl: bool) -> list[str]:
    """Samplers that can be drawn with."""
    return list(SAMPLERS)


def lora_names(catalog: Catalog, noted: Mapping[str, str], is_sdxl: bool) -> list[str]:
    """LoRAs by their files' names, as Prodia has them."""
    return [each.path.name if catalog.loras.resolve(each.path.name) is each else each.name
            for each in _of_family(catalog.loras, is_sdxl)]  # fmt: skip


def embedding_names(catalog: Catalog, noted: Mapping[str, str], is_sdxl: bool) -> list[str]:
    """Embeddings by the words that prompts use."""
    return [each.name for each in _of_family(catalog.embeddings, is_sdxl)]


def _of_family(extras: AuxiliaryModels, is_sdxl: bool) -> list[AuxiliaryModel]:
    """Those made for the family, and those of which only their weights tell."""
    families = (None, SDXL if is_sdxl else STABLE_DIFFUSION)
    return [extra for extra in extras.values() if extra.family in families and extra.problem() is None]


class _WithProdiaKey(APIRoute):
    """A route for clients that send Prodia's header, at a path that is the native dialect's for all others."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if all(name != b"x-prodia-key" for name, _ in scope["headers"]):
            return Match.NONE, {}
        return super().matches(scope)


def _listing(name: Namer, is_sdxl: bool) -> Callable[..., Awaitable[Response]]:
    async def list_names(gateway: GatewayState, caller: CurrentCaller) -> Response:
        noted = await gateway.watcher.model_problems()
        names = await run_in_threadpool(name, gateway.catalog.current(), noted, is_sdxl)
        return Response(json.dumps(names), headers={"Content-Type": gateway.settings.prodia_list_type})

    return list_names


def _add(
    path: str, name: Namer, operation_id: str, summary: str, *, is_sdxl: bool = False, is_old: bool = False
) -> None:
    router.add_api_route(
        path,
        _listing(name, is_sdxl),
        methods=["GET"],
        operation_id=operation_id,
        summary=summary,
        description="A JSON array, labelled as plain text unless `PHOTOGRAM_PRODIA_LIST_TYPE` says otherwise.",
        response_model=list[str],
        deprecated=is_old or None,
        responses=_RESPONSES,
    )


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The names.", "content": {"text/plain": {"example": '["house"]'}}},
    **told(ErrorCode.UNAUTHORIZED, ErrorCode.LEDGER_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
}
_NAMERS: Mapping[str, Namer] = {
    "models": model_names,
    "samplers": sampler_names,
    "loras": lora_names,
    "embeddings": embedding_names,
}
for _what, _name in _NAMERS.items():
    _add(f"/v1/sd/{_what}", _name, f"prodiaList{_what.title()}", f"The names of {_what}")
    _add(f"/v1/sdxl/{_what}", _name, f"prodiaListSdxl{_what.title()}", f"The names of {_what} for SDXL", is_sdxl=True)
_add("/v1/models/list", model_names, "prodiaListModelsByOldName", "The names of models, by the old path", is_old=True)
router.routes.append(_WithProdiaKey("/v1/models", _listing(model_names, False), include_in_schema=False))
