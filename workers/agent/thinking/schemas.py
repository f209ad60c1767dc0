"""The JSON schemas of plans as a language model reads them: without what tells it nothing, and short where space is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.agent.checks import CHECK_SCHEMA

_SAYS_NOTHING = ("title", "default")
_SCALARS = ("string", "integer", "number", "boolean")
_OFTEN_SET = ("model", "negative_prompt", "seed", "width", "height", "strength", "scale")
"""The optional arguments of tools that draw that a model with a small context is shown."""


def written(schema: Mapping[str, Any], *, is_short: bool) -> dict[str, Any]:
    """``schema`` without titles and defaults, which take a fifth of it.

    With ``is_short``, which leaves a fifth of it, the arguments of a check are any object, and described in words: a
    wrong one is refused by :class:`Check` and not by the schema.
    """
    if is_short and schema == CHECK_SCHEMA:
        return _short_check()
    kept = {key: value for key, value in schema.items() if key not in _SAYS_NOTHING}
    if isinstance(properties := kept.get("properties"), Mapping):
        kept["properties"] = {name: written(part, is_short=is_short) for name, part in properties.items()}
    if isinstance(items := kept.get("items"), Mapping):
        kept["items"] = written(items, is_short=is_short)
    if "anyOf" in kept:
        kept["anyOf"] = [written(part, is_short=is_short) for part in kept["anyOf"]]
    return kept


def shown(parameters: Mapping[str, Any], *, is_short: bool) -> dict[str, Any]:
    """The schema of a tool's arguments as the model is shown it; a call is checked against ``parameters`` themselves.

    With ``is_short`` optional arguments have no descriptions, and those that are lists or objects are left out, as are
    most of the tools that draw: with them, these alone fill a context of 4,096 tokens.
    """
    whole = written(parameters, is_short=False)
    if not is_short:
        return whole
    draws = "prompt" in whole.get("properties", {})
    required = whole.get("required", ())
    kept = {
        name: part if name in required and part.get("type") != "object" else _undescribed(part)
        for name, part in whole.get("properties", {}).items()
        if name in required or (part.get("type") in _SCALARS and (not draws or name in _OFTEN_SET))
    }
    return whole | {"properties": kept}


def _undescribed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """``schema`` without descriptions, and an object with what it requires only."""
    kept = {key: value for key, value in schema.items() if key != "description"}
    if schema.get("type") == "object":
        required = schema.get("required", ())
        kept["properties"] = {
            name: _undescribed(part) for name, part in schema.get("properties", {}).items() if name in required
        }
    return kept


def _short_check() -> dict[str, Any]:
    kinds = {branch["properties"]["kind"]["const"]: branch for branch in CHECK_SCHEMA["anyOf"]}
    described = "; ".join(f"{kind}: {_arguments(branch['properties']['arguments'])}" for kind, branch in kinds.items())
    arguments = {"type": "object", "description": f"By kind, with ? where optional: {described}."}
    return {
        "type": "object",
        "properties": {"kind": {"enum": list(kinds)}, "arguments": arguments},
        "required": ["kind", "arguments"],
        "additionalProperties": False,
    }


def _arguments(schema: Mapping[str, Any]) -> str:
    """As in ``file (text), width? (integer)``."""
    required = schema.get("required", ())
    return ", ".join(
        f"{name}{'' if name in required else '?'} ({_type(part)})" for name, part in schema["properties"].items()
    )


def _type(schema: Mapping[str, Any]) -> str:
    branches = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
    if branches:
        return " or ".join(map(_type, branches))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return {"string": "text"}.get(schema.get("type", ""), str(schema.get("type", "value")))
