"""The tools that propose jobs: their schemas come from the bodies of the native API and the catalog."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from models.catalog.bounds import GUIDANCE_MAX
from models.catalog.catalog import Catalog
from models.catalog.families import IMG2IMG, TXT2IMG
from models.catalog.styles import STYLES
from models.catalog.upscalers import KNOWN_UPSCALERS, UPSCALE_MAX, upscaler_problem
from models.jobs.kinds import find_kind
from models.jobs.params import SEED_MAX, UPSCALE
from models.language.tools import Tool
from models.language.tools.types import Example
from service.api.assist.instructions import ARGUMENTS, CHANGES, EXAMPLES, TOOLS
from service.api.job_bodies import params_body

CREATE, EDIT, ENLARGE = "create_image", "edit_image", "upscale"
NO_STYLE = "none"
"""The ``style_preset`` that removes the style of the job to change."""
DRAWN_FIELDS = (
    "prompt", "negative_prompt", "model", "style_preset", "aspect_ratio", "width", "height", "num_inference_steps",
    "guidance_scale", "sampler", "seed",
)  # fmt: skip
"""The fields of a job that a request in plain language may concern."""
_JOBS: Mapping[str, tuple[type[BaseModel], tuple[str, ...]]] = {
    CREATE: (params_body(find_kind(TXT2IMG)), DRAWN_FIELDS),
    EDIT: (params_body(find_kind(IMG2IMG)), ("image", *DRAWN_FIELDS, "strength")),
    ENLARGE: (params_body(find_kind(UPSCALE)), ("image", "scale", "upscaler")),
}
SHAPES = ("1:1", "2:3", "3:2", "3:4", "4:3", "9:16", "16:9", "9:21", "21:9")
"""The aspect ratios that are offered: those of jobs, without the ones that are nearly equal to another one."""
_LISTED_MAX = 64
"""The largest enumeration: the grammar that the engine builds from a schema grows with each name."""
_NULL: Mapping[str, str] = {"type": "null"}

Schema = dict[str, Any]


def job_fields(name: str) -> tuple[str, ...]:
    """The arguments of the tool ``name``, one of ``CREATE``, ``EDIT`` and ``ENLARGE``."""
    return _JOBS[name][1]


def job_tools(catalog: Catalog, images: int, *, is_change: bool) -> list[Tool]:
    """The tools that propose a job.

    Args:
        images: the number of images that the user sent.
        is_change: whether there is a job to change; then every argument may be left out.
    """
    limits = _limits(catalog, images)
    return [
        Tool(
            name=name,
            description=TOOLS[name],
            parameters=_parameters(body, _descriptions(name), limits, is_change),
            examples=_examples(name, is_change),
        )
        for name, (body, _) in _JOBS.items()
    ]


def _descriptions(name: str) -> dict[str, str | None]:
    """The description of each argument of a tool; arguments that ``EDIT`` shares with ``CREATE`` have none."""
    shared = DRAWN_FIELDS if name == EDIT else ()
    return {field: None if field in shared else ARGUMENTS.get(field) for field in job_fields(name)}


def _examples(name: str, is_change: bool) -> tuple[Example, ...]:
    shown = CHANGES.get(name, ()) if is_change else EXAMPLES[name]
    return tuple(Example(request=request, arguments=arguments) for request, arguments in shown)


def _parameters(
    body: type[BaseModel], descriptions: Mapping[str, str | None], limits: Mapping[str, Schema], is_change: bool
) -> Schema:
    """The JSON Schema of a call; the tool dialect adds null to the types of optional arguments."""
    shown = body.model_json_schema()["properties"]
    properties = {name: _property(shown[name], limits.get(name, {}), text) for name, text in descriptions.items()}
    required = [] if is_change else [name for name in descriptions if _NULL not in shown[name].get("anyOf", ())]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _property(shown: Schema, limit: Schema, description: str | None) -> Schema:
    branches = shown.get("anyOf", [shown])
    described = {} if description is None else {"description": description}
    return {"type": next(each["type"] for each in branches if each != _NULL), **limit, **described}


def _limits(catalog: Catalog, images: int) -> dict[str, Schema]:
    """The limits of each field that hold for all models."""
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
        "scale": {"minimum": 1, "maximum": UPSCALE_MAX},
        "upscaler": _one_of(name for name in upscalers if upscaler_problem(name, catalog.upscalers) is None),
    }


def _one_of(names: Iterable[str]) -> Schema:
    """An enumeration of ``names``; no limit if there are none or too many: then the check of the call refuses."""
    found = list(names)
    return {"enum": found} if 0 < len(found) <= _LISTED_MAX else {}


def image_name(index: int) -> str:
    """The name of the image at ``index`` in the conversation."""
    return f"image {index + 1}"


def image_index(name: str) -> int | None:
    """The index of the image called ``name``, also for variants such as ``#1``; ``None`` if it is not such a name."""
    found = re.fullmatch(r"\s*(?:image|picture)?\s*#?([1-9][0-9]{0,3})\s*", name, re.IGNORECASE | re.ASCII)
    return None if found is None else int(found[1]) - 1
