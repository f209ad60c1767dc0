"""The tools that list models, styles, samplers and LoRAs to the language model; long lists are cut off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES
from models.catalog.samplers import LISTED
from models.catalog.styles import STYLES
from models.language.tools import Tool
from service.api.assist.instructions import TOOLS

_LISTED_MAX_CHARS = 3000
"""The largest list; the conversation cuts off results that are a little longer."""

_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType(
    {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
)


def _list_models(catalog: Catalog) -> Iterable[Any]:
    return (_model(spec, is_default=spec.name == catalog.default) for spec in catalog.values())


def _model(spec: ModelSpec, *, is_default: bool) -> dict[str, Any]:
    facts, defaults, limits = FAMILIES.get(spec.family), spec.defaults, spec.limits
    return {
        "name": spec.name,
        "family": spec.family,
        "is_default": is_default,
        "usual_size": f"{defaults.width}x{defaults.height}",
        "smallest_side": limits.min_px,
        "largest_side": limits.max_px,
        "takes_negative_prompt": facts is not None and facts.takes_negative_prompt,
    }


def _list_styles(catalog: Catalog) -> Iterable[Any]:
    return ({"name": style.name, "looks": f"{style.prefix} ..., {style.suffix}"} for style in STYLES.values())


def _list_samplers(catalog: Catalog) -> Iterable[Any]:
    return LISTED


def _list_loras(catalog: Catalog) -> Iterable[Any]:
    return ({"name": lora.name, "for_models_of": lora.family} for lora in catalog.loras.values())


_LISTS: Mapping[str, Callable[[Catalog], Iterable[Any]]] = MappingProxyType({
    "list_models": _list_models, "list_styles": _list_styles, "list_samplers": _list_samplers,
    "list_loras": _list_loras,
})  # fmt: skip


def information_tools() -> list[Tool]:
    """The tools; none of them has arguments."""
    return [Tool(name=name, description=TOOLS[name], parameters=dict(_NO_ARGUMENTS)) for name in _LISTS]


def look_up(name: str, catalog: Catalog) -> dict[str, Any]:
    """The result of the tool ``name``: as many entries as fit, and the number of the others as ``more``."""
    found, listed, room_chars = list(_LISTS[name](catalog)), [], _LISTED_MAX_CHARS
    for each in found:
        room_chars -= len(json.dumps(each)) + 2
        if room_chars < 0:
            break
        listed.append(each)
    more = {"more": len(found) - len(listed)} if len(found) > len(listed) else {}
    return {name.removeprefix("list_"): listed, **more}
