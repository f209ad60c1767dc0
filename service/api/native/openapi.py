"""The parts of the OpenAPI document that depend on the registered job kinds."""

from __future__ import annotations

from typing import Any

from models.jobs.kinds import job_kinds
from models.jobs.params import JobParams

JOB_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobBody"}}},
    }
}
"""The body of a route that submits a job; :func:`document_jobs` adds the examples."""


def document_jobs(document: dict[str, Any]) -> None:
    """Add to ``document``, in place, an example and the effective parameters of every registered kind."""
    examples = {name: {"value": body} for name, body in job_examples().items()}
    for item in document["paths"].values():
        for operation in item.values():
            media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if media.get("schema") == {"$ref": "#/components/schemas/JobBody"}:
                media["examples"] = examples
    shown = document["components"]["schemas"]["JobView"]["properties"]["params"]
    shown["anyOf"] = [{"$ref": f"#/components/schemas/{each.__name__}"} for each in params_classes()]


def params_classes() -> tuple[type[JobParams], ...]:
    """The classes of the effective parameters of all registered kinds, without duplicates."""
    return tuple(dict.fromkeys(kind.params for kind in job_kinds() if kind.params is not JobParams))


def job_examples() -> dict[str, dict[str, Any]]:
    """An example body for each kind, by the name of the kind."""
    return {kind.name: {"kind": kind.name, "params": dict(kind.example)} for kind in job_kinds()}
