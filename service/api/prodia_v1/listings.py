"""The listings of Prodia's API v1: JSON arrays of the names that requests may use on this server."""

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
from models.catalog.samplers import LISTED
from service.api.auth import CurrentCaller
from service.api.errors import ErrorCode
from service.api.prodia_v1.errors import responses
from service.api.state import GatewayState

_HASHED_FROM, _HASHED_BYTES = 0x100000, 0x10000
_HASH_CHARS = 8
Namer = Callable[[Catalog, Mapping[str, str], bool], list[str]]
"""Returns names; takes the catalog, the problems that workers reported by model, and whether to list SDXL. Blocking."""

router = APIRouter(tags=["prodia v1"])


def model_names(catalog: Catalog, problems: Mapping[str, str], is_sdxl: bool) -> list[str]:
    """Models that can be used: the SDXL models, or all others."""
    usable = (spec for spec in catalog.values() if spec.name not in problems and spec.problem() is None)
    return [_model_name(spec, catalog) for spec in usable
            if (spec.family == SDXL) == is_sdxl and spec.family != SDXL_REFINER]  # fmt: skip


def _model_name(spec: ModelSpec, catalog: Catalog) -> str:
    """``file.safetensors [0123abcd]``, as in A1111, for a model in one file; else the name in the catalog."""
    if spec.file is None or catalog.resolve(spec.file.name) is not spec:
        return spec.name
    try:
        status = spec.file.stat()
        return f"{spec.file.name} [{_short_hash(spec.file, status.st_mtime_ns, status.st_size)}]"
    except OSError:  # the gateway may lack access to files that workers read
        return spec.file.name


@lru_cache(maxsize=1024)
def _short_hash(path: Path, modified_ns: int, size_bytes: int) -> str:
    """A1111's old model hash, which Prodia uses: SHA-256 of 64 KiB that start after the first MiB, 8 digits."""
    with path.open("rb") as file:
        file.seek(_HASHED_FROM)
        return hashlib.sha256(file.read(_HASHED_BYTES)).hexdigest()[:_HASH_CHARS]


def sampler_names(catalog: Catalog, problems: Mapping[str, str], is_sdxl: bool) -> list[str]:
    """Samplers that can be used."""
    return list(LISTED)


def lora_names(catalog: Catalog, problems: Mapping[str, str], is_sdxl: bool) -> list[str]:
    """LoRAs by their file names, as on Prodia's servers."""
    return [each.path.name if catalog.loras.resolve(each.path.name) is each else each.name
            for each in _of_family(catalog.loras, is_sdxl)]  # fmt: skip


def embedding_names(catalog: Catalog, problems: Mapping[str, str], is_sdxl: bool) -> list[str]:
    """Embeddings by the names that prompts use."""
    return [each.name for each in _of_family(catalog.embeddings, is_sdxl)]


def _of_family(extras: AuxiliaryModels, is_sdxl: bool) -> list[AuxiliaryModel]:
    """Models for the family, and models whose family is only known once they are loaded."""
    families = (None, SDXL if is_sdxl else STABLE_DIFFUSION)
    return [extra for extra in extras.values() if extra.family in families and extra.problem() is None]


class _WithProdiaKey(APIRoute):
    """A route that only matches requests with Prodia's key header; others go to the native route of the same path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if all(name != b"x-prodia-key" for name, _ in scope["headers"]):
            return Match.NONE, {}
        return super().matches(scope)


def _listing(name: Namer, is_sdxl: bool) -> Callable[..., Awaitable[Response]]:
    async def list_names(gateway: GatewayState, caller: CurrentCaller) -> Response:
        problems = await gateway.watcher.model_problems()
        names = await run_in_threadpool(name, gateway.catalog.current(), problems, is_sdxl)
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
        description="A JSON array, sent as `text/plain` unless `PHOTOGRAM_PRODIA_LIST_TYPE` is another media type.",
        response_model=list[str],
        deprecated=is_old or None,
        responses=_RESPONSES,
    )


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The names.", "content": {"text/plain": {"example": '["house"]'}}},
    **responses(ErrorCode.UNAUTHORIZED, ErrorCode.LEDGER_UNAVAILABLE, ErrorCode.INTERNAL_ERROR),
}
_NAMERS: Mapping[str, Namer] = {
    "models": model_names,
    "samplers": sampler_names,
    "loras": lora_names,
    "embeddings": embedding_names,
}
for _what, _name in _NAMERS.items():
    _add(f"/v1/sd/{_what}", _name, f"prodiaList{_what.title()}", f"List the names of {_what}")
    _add(
        f"/v1/sdxl/{_what}",
        _name,
        f"prodiaListSdxl{_what.title()}",
        f"List the names of {_what} for SDXL",
        is_sdxl=True,
    )
_add("/v1/models/list", model_names, "prodiaListModelsByOldName", "List the names of models (old path)", is_old=True)
router.routes.append(_WithProdiaKey("/v1/models", _listing(model_names, False), include_in_schema=False))
