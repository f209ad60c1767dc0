"""The JSON schemas of subtasks, plans and their changes, for language models."""

from __future__ import annotations

from typing import Any

from models.agent.checks import CHECK_SCHEMA
from models.agent.plan import CHAIN_MAX, CHANGES, GOAL_MAX_CHARS, MILESTONES_MAX, NAME_MAX_CHARS, WIDTH_MAX
from models.agent.subtask import TOOLS_MAX

_FIELDS: dict[str, Any] = {
    "name": {"type": "string", "minLength": 1, "maxLength": NAME_MAX_CHARS},
    "goal": {"type": "string", "maxLength": GOAL_MAX_CHARS, "description": "What there is when it is done."},
    "criticism": {"type": "string", "maxLength": GOAL_MAX_CHARS, "description": "What may go wrong."},
    "tools": {"type": "array", "items": {"type": "string"}, "maxItems": TOOLS_MAX},
    "milestones": {
        "type": "array",
        "items": CHECK_SCHEMA,
        "maxItems": MILESTONES_MAX,
        "description": "The checks by tools that decide whether it is done.",
    },
}

SUBTASK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": _FIELDS,
    "required": ["name", "goal", "milestones"],
    "additionalProperties": False,
}

PLAN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"subtasks": {"type": "array", "items": SUBTASK_SCHEMA, "minItems": 1, "maxItems": CHAIN_MAX}},
    "required": ["subtasks"],
    "additionalProperties": False,
}
"""Of a plan that is read by ``Plan.of(*map(Subtask.from_payload, plan["subtasks"]))``, which gives the ids."""

PLAN_CHANGE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": list(CHANGES), "description": "split and add have subtasks, and modify has fields."},
        "id": {"type": "string", "description": "Of the subtask that changes, or after which subtasks are added."},
        "subtasks": {"type": "array", "items": SUBTASK_SCHEMA, "maxItems": WIDTH_MAX},
        "fields": {"type": "object", "properties": _FIELDS, "additionalProperties": False},
    },
    "required": ["kind", "id"],
    "additionalProperties": False,
}
