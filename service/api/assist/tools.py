"""The tools that the language model may call: made from the wire's own bodies, with the catalog's names and limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from models.catalog.bounds import GUIDANCE_MAX
from models.catalog.catalog import Catalog
from models.catalog.families import IMG2IMG, TXT2IMG
from models.catalog.styles import STYLES
from models.catalog.upscalers import KNOWN_UPSCALERS, UPSCALE_FACTORS, upscaler_problem
from models.jobs.kinds import find_kind
from models.jobs.params import SEED_MAX, UPSCALE
from models.language.tools import Tool
from models.language.tools.types import Example
from service.api.assist.instructions import ARGUMENTS, CHANGES, EXAMPLES, TOOLS
from service.api.native.schemas import params_body

CREATE, EDIT, ENLARGE = "create_image", "edit_image", "upscale"
NO_STYLE = "none"
"""What takes away the style of a job that is changed."""
DRAWN_FIELDS = (
    "prompt", "negative_prompt", "model", "style_preset", "aspect_ratio", "width", "height", "num_inference_steps",
    "guidance_scale", "sampler", "seed",
)  # fmt: skip
"""The fields of a job that somebody may mean in plain words."""
_JOBS: Mapping[str, tuple[type[BaseModel], tuple[str, ...]]] = {
    CREATE: (params_body(find_kind(TXT2IMG)), DRAWN_FIELDS),
    EDIT: (params_body(find_kind(IMG2IMG)), ("image", *DRAWN_FIELDS, "strength")),
    ENLARGE: (params_body(find_kind(UPSCALE)), ("image", "scale", "upscaler")),
}
SHAPES = ("1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9", "9:21", "21:9")
"""The aspect ratios that are offered: those of jobs without the ones that hardly anybody can tell apart."""
_LISTED_MAX = 64
"""Names beyond so many are not spelled out: the grammar of a schema grows with each of them."""
_NULL: Mapping[str, str] = {"type": "null"}

Schema = dict[str, Any]


def job_fields(name: str) -> tuple[str, ...]:
    """The arguments of the tool ``name``, one of ``CREATE``, ``EDIT`` and ``ENLARGE``."""
    return _JOBS[name][1]


def job_tools(catalog: Catalog, images: int, *, is_change: bool) -> list[Tool]:
    """The tools that propose a job; where there ``is_change``, every argument may be left out."""
    limits = _limits(catalog, images)
    return [
        Tool(
            name=name,
            description=TOOLS[name],
            parameters=_parameters(body, _told(name), limits, is_change),
            examples=_examples(name, is_change),
        )
        for name, (body, _) in _JOBS.items()
    ]


def _told(name: str) -> dict[str, str | None]:
    """The arguments of a tool, and what the model is told of each; what two tools share is told with the first."""
    shared = DRAWN_FIELDS if name == EDIT else ()
    return {field: None if field in shared else ARGUMENTS.get(field) for field in job_fields(name)}


def _examples(name: str, is_change: bool) -> tuple[Example, ...]:
    shown = CHANGES.get(name, ()) if is_change else EXAMPLES[name]
    return tuple(Example(wish=wish, arguments=arguments) for wish, arguments in shown)


def _parameters(
    body: type[BaseModel], told: Mapping[str, str | None], limits: Mapping[str, Schema], is_change: bool
) -> Schema:
    """The schema of a call. That what may be left out may also be null is a matter of the dialect."""
    shown = body.model_json_schema()["properties"]
    properties = {name: _property(shown[name], limits.get(name, {}), text) for name, text in told.items()}
    required = [] if is_change else [name for name in told if _NULL not in shown[name].get("anyOf", ())]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _property(shown: Schema, limit: Schema, told: str | None) -> Schema:
    branches = shown.get("anyOf", [shown])
    described = {} if told is None else {"description": told}
    return {"type": next(each["type"] for each in branches if each != _NULL), **limit, **described}


def _limits(catalog: Catalog, images: int) -> dict[str, Schema]:
    """What each field may be, as far as it is the same for all models."""
    models = [spec.limits for spec in catalog.values()]
    size = {"minimum": min(each.min_px for each in models), "maximum": max(each.max_px for each in models)}
    upscalers = dict.fromkeys((*KNOWN_UPSCALERS, *catalog.upscalers))
    return {
        "prompt": {"minLength": 1},
        "model": _one_of(catalog),
        "style_preset": _one_of((*STYLES, NO_STYLE)),
        "aspect_ratio": {"enum": list(SHAPES)},
        "width": size,
        "height": size,
        "num_inference_steps": {"minimum": 1, "maximum": max(each.max_steps for each in models)},
        "guidance_scale": {"minimum": 0, "maximum": GUIDANCE_MAX},
        "seed": {"minimum": 0, "maximum": SEED_MAX},
        "strength": {"exclusiveMinimum": 0, "maximum": 1},
        "image": _one_of(map(image_name, range(images))),
        "scale": {"enum": list(UPSCALE_FACTORS)},
        "upscaler": _one_of(name for name in upscalers if upscaler_problem(name, catalog.upscalers) is None),
    }


def _one_of(names: Iterable[str]) -> Schema:
    """A choice; nothing to choose from is told when it is called for, in words."""
    found = list(names)
    return {"enum": found} if 0 < len(found) <= _LISTED_MAX else {}


def image_name(index: int) -> str:
    """What the language model calls the image at ``index``."""
    return f"image {index + 1}"


def image_index(name: str) -> int | None:
    """The opposite, with some patience; ``None`` if it makes no sense."""
    found = re.fullmatch(r"\s*(?:image|picture)?\s*#?([1-9][0-9]{0,3})\s*", name, re.IGNORECASE | re.ASCII)
    return None if found is None else int(found[1]) - 1
