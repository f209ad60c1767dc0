"""JSON schemas of tools: variants for engines, and validation of arguments with messages for the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema_rs

TEXT_MAX_CHARS = 600
"""The ``maxLength`` that :func:`bounded` adds to a string without one."""
ITEMS_MAX = 8
"""The ``maxItems`` that :func:`bounded` adds to an array without one."""
VIOLATIONS_MAX = 5
_VIOLATION_MAX_CHARS = 200

Schema = dict[str, Any]

_REASONS: Mapping[str, str] = {
    "multipleOf": "must be a multiple of {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} entries",
    "maxItems": "must have at most {} entries",
    "pattern": "must match the pattern {}",
    "const": "must be {}",
}
"""Messages by the violated keyword; the braces stand for the keyword's value."""


def closed(schema: Mapping[str, Any]) -> Schema:
    """The schema with ``additionalProperties: false`` in every object."""
    return _rebuilt(schema, _close)


def strict(schema: Mapping[str, Any]) -> Schema:
    """The schema for OpenAI's ``strict``: closed, every property required, and optional ones nullable.

    :func:`without_optional_nulls` reverses this in the arguments.
    """
    return _rebuilt(schema, lambda part: _require_all(_close(part)))


def bounded(schema: Mapping[str, Any]) -> Schema:
    """The closed schema with a maximal length for every string and array, so that constrained output ends."""
    return _rebuilt(schema, lambda part: _bound(_close(part)))


def _rebuilt(schema: Mapping[str, Any], change: Callable[[Schema], Schema]) -> Schema:
    """A copy with ``change`` applied to every nested schema, innermost first."""
    copy = dict(schema)
    if isinstance(properties := copy.get("properties"), Mapping):
        copy["properties"] = {name: _rebuilt(part, change) for name, part in properties.items()}
    if isinstance(items := copy.get("items"), Mapping):
        copy["items"] = _rebuilt(items, change)
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in copy:
            copy[keyword] = [_rebuilt(part, change) for part in copy[keyword]]
    return change(copy)


def _close(schema: Schema) -> Schema:
    return schema | {"additionalProperties": False} if "properties" in schema else schema


def _require_all(schema: Schema) -> Schema:
    if "properties" not in schema:
        return schema
    required = schema.get("required", ())
    properties = {
        name: part if name in required or _allows_null(part) else {"anyOf": [part, {"type": "null"}]}
        for name, part in schema["properties"].items()
    }
    return schema | {"properties": properties, "required": list(properties)}


def _bound(schema: Schema) -> Schema:
    if schema.get("type") == "string" and not {"enum", "const", "pattern", "format"} & schema.keys():
        return {"maxLength": TEXT_MAX_CHARS} | schema
    return {"maxItems": ITEMS_MAX} | schema if schema.get("type") == "array" else schema


def _allows_null(schema: Mapping[str, Any]) -> bool:
    return jsonschema_rs.is_valid(dict(schema), None, offline=True)


def without_optional_nulls(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments without the nulls that stand for absent optional arguments, in nested objects and lists too."""
    kept: dict[str, Any] = {}
    for name, value in arguments.items():
        part = schema.get("properties", {}).get(name)
        if part is not None and value is None and name not in schema.get("required", ()) and not _allows_null(part):
            continue
        kept[name] = value if part is None else _without_nulls(part, value)
    return kept


def _without_nulls(schema: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        return [_without_nulls(items, each) for each in value]
    if not isinstance(value, dict):
        return value
    for branch in schema.get("anyOf", ()):
        candidate = without_optional_nulls(branch, value)
        if jsonschema_rs.is_valid(closed(branch), candidate, offline=True):
            return candidate
    return without_optional_nulls(schema, value)


def violations(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """Messages such as ``width: must be a multiple of 8``, at most ``VIOLATIONS_MAX``; empty if all is valid."""
    checker = jsonschema_rs.validator_for(closed(schema), offline=True)
    found = (violation for error in checker.iter_errors(dict(arguments)) for violation in _violations(error))
    return [violation[:_VIOLATION_MAX_CHARS] for violation, _ in zip(found, range(VIOLATIONS_MAX), strict=False)]


def _violations(error: jsonschema_rs.ValidationError) -> Iterator[str]:
    where = ".".join(str(step) for step in error.instance_path)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=names):
            yield from (f"{_argument_path(where, name)}: there is no such argument" for name in names)
        case jsonschema_rs.ValidationErrorKind.Required(property=name):
            yield f"{_argument_path(where, str(name))}: is missing"
        case _:
            yield f"{where or 'arguments'}: {_reason(error)}"


def _reason(error: jsonschema_rs.ValidationError) -> str:
    name, value = error.kind.name, error.kind.value
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.AnyOf(context=branches):
            return " or ".join(dict.fromkeys(_reason(branch[0]) for branch in branches if branch))
        case jsonschema_rs.ValidationErrorKind.Type(types=types):
            return "must be of type " + " or ".join(sorted(types))
        case jsonschema_rs.ValidationErrorKind.Enum():
            return "must be one of " + ", ".join(map(_as_json, value))
    return _REASONS[name].format(_as_json(value)) if name in _REASONS else error.message


def _argument_path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
