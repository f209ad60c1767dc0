"""Schemas made fit for engines, and arguments held against them."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from models.language.schemas import bounded, closed, strict, violations, without_optional_nulls

SCHEMA = {
    "type": "object",
    "properties": {
        "prompt": {"type": "string", "minLength": 1, "maxLength": 20},
        "width": {"type": "integer", "multipleOf": 8, "minimum": 64, "maximum": 2048},
        "strength": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "style": {"anyOf": [{"enum": ["anime", "photo"]}, {"type": "null"}]},
        "seed": {"type": ["integer", "null"]},
        "ratio": {"enum": ["1:1", "16:9"]},
        "tags": {"type": "array", "items": {"type": "string", "pattern": "^a"}, "minItems": 1, "maxItems": 2},
        "control": {"type": "object", "properties": {"name": {"const": "canny"}}, "required": ["name"]},
    },
    "required": ["prompt"],
}


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt": "cat"},
        {"prompt": "cat", "width": 512, "strength": 0.5, "style": None, "seed": None, "ratio": "16:9"},
        {"prompt": "cat", "style": "anime", "seed": 7, "tags": ["a", "ab"], "control": {"name": "canny"}},
    ],
)
def test_good_arguments(arguments: dict[str, Any]):
    assert violations(SCHEMA, arguments) == []


@pytest.mark.parametrize(
    ("arguments", "violation"),
    [
        ({}, "prompt: is missing"),
        ({"prompt": ""}, "prompt: must have at least 1 characters"),
        ({"prompt": "a" * 21}, "prompt: must have at most 20 characters"),
        ({"prompt": "a", "width": 100}, "width: must be a multiple of 8"),
        ({"prompt": "a", "width": "512"}, "width: must be of type integer"),
        ({"prompt": "a", "width": 8}, "width: must be at least 64"),
        ({"prompt": "a", "width": 4096}, "width: must be at most 2048"),
        ({"prompt": "a", "strength": 0}, "strength: must be more than 0"),
        ({"prompt": "a", "strength": 1.5}, "strength: must be less than 1"),
        ({"prompt": "a", "style": "oil"}, 'style: must be one of "anime", "photo" or must be of type null'),
        ({"prompt": "a", "seed": "x"}, "seed: must be of type integer or null"),
        ({"prompt": "a", "ratio": "2:1"}, 'ratio: must be one of "1:1", "16:9"'),
        ({"prompt": "a", "tags": []}, "tags: must have at least 1 entries"),
        ({"prompt": "a", "tags": ["b"]}, 'tags.0: must match the pattern "^a"'),
        ({"prompt": "a", "control": {}}, "control.name: is missing"),
        ({"prompt": "a", "control": {"name": "x"}}, 'control.name: must be "canny"'),
        ({"prompt": "a", "control": {"name": "canny", "x": 1}}, "control.x: there is no such argument"),
        ({"prompt": "a", "height": 1}, "height: there is no such argument"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], violation: str):
    assert violations(SCHEMA, arguments) == [violation]


def test_complaints_are_few_and_short():
    found = violations(SCHEMA, {"prompt": "a"} | {f"{'x' * 500}{number}": 1 for number in range(100)})
    assert len(found) == 5 and all(len(violation) <= 200 for violation in found)


def test_strict_allows_what_was_allowed_with_nulls_for_what_is_absent():
    made = strict(SCHEMA)
    arguments = dict.fromkeys(SCHEMA["properties"], None) | {"prompt": "cat"}
    assert jsonschema_rs.is_valid(made, arguments)
    assert not jsonschema_rs.is_valid(made, {"prompt": "cat"})
    assert without_optional_nulls(SCHEMA, arguments) == {"prompt": "cat", "style": None, "seed": None}
    assert violations(SCHEMA, without_optional_nulls(SCHEMA, arguments)) == []


def test_nulls_that_mean_something_stay():
    assert without_optional_nulls(SCHEMA, {"prompt": None, "odd": None}) == {"prompt": None, "odd": None}
    nested = {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "integer"}}}}}
    assert without_optional_nulls(nested, {"a": {"b": None}}) == {"a": {}}


def test_bounded_ends_texts_and_lists():
    made = bounded({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}})
    assert made["properties"]["a"] == {"maxItems": 8, "type": "array", "items": {"maxLength": 600, "type": "string"}}
    assert bounded(SCHEMA)["properties"]["prompt"]["maxLength"] == 20


def test_the_schema_itself_is_left_alone():
    before = repr(SCHEMA)
    closed(SCHEMA), strict(SCHEMA), bounded(SCHEMA)
    assert repr(SCHEMA) == before


def test_nulls_of_objects_in_lists_are_dropped_as_well():
    one = {"properties": {"kind": {"const": "one"}, "a": {"type": "integer"}}, "required": ["kind"]}
    two = {"properties": {"kind": {"const": "two"}, "b": {"type": ["integer", "null"]}}, "required": ["kind"]}
    schema = {"properties": {"checks": {"type": "array", "items": {"anyOf": [one, two]}}}}
    arguments = {"checks": [{"kind": "one", "a": None}, {"kind": "two", "b": None}, {"kind": "three", "c": None}, 7]}
    found = without_optional_nulls(schema, arguments)
    assert found == {"checks": [{"kind": "one"}, {"kind": "two", "b": None}, {"kind": "three", "c": None}, 7]}
