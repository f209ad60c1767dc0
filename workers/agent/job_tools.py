"""The kinds of jobs as tools of an agent: their schemas, and the requests that calls become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.agent.calls import ToolSpec
from models.catalog.catalog import Catalog
from models.jobs.finetuning import TRAINING_QUEUE
from models.jobs.kinds import JobKind, ResultForm, job_kinds
from models.jobs.parameters import Field, declared
from models.jobs.params import JobRequest
from models.jobs.payload import build

SAVE_AS = "save_as"
_LEFT_OUT = ("priority", "metadata", "provenance", "enhance_prompt", "enhance_negative_prompt")
"""What the owner of the job decides, and not its agent."""
_JSON_TYPES: Mapping[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
_PATH = {"type": "string", "minLength": 1, "maxLength": 100, "description": "An image file of the workspace."}
_SAVE_AS = {
    "type": "string",
    "pattern": r"^[^/].*\.png$",
    "maxLength": 100,
    "description": "The file of the workspace that the image becomes, as in panel-1.png.",
}


@dataclass(frozen=True)
class JobTool:
    """A kind of job as a tool."""

    kind: JobKind
    spec: ToolSpec

    @property
    def makes_images(self) -> bool:
        """Whether the result is images, which are saved in the workspace."""
        return self.kind.result is ResultForm.IMAGES

    def request(self, arguments: Mapping[str, Any]) -> JobRequest:
        """The request of a call that fits the schema; its images are files of the workspace still."""
        given = {name: value for name, value in arguments.items() if name != SAVE_AS}
        return build(self.kind.request, {**given, "kind": self.kind.name})


def job_tools(catalog: Catalog) -> dict[str, JobTool]:
    """The tools of this server, by their names: every kind that runs at once and can be done here.

    Kinds that change what others get, that train, and agents themselves are left out.
    """
    return {kind.name: JobTool(kind, _spec(kind)) for kind in job_kinds() if _is_offered(kind, catalog)}


def _is_offered(kind: JobKind, catalog: Catalog) -> bool:
    if kind.plan is None or kind.is_administrative or kind.queue == TRAINING_QUEUE:
        return False
    return kind.problem(catalog) is None


def _spec(kind: JobKind) -> ToolSpec:
    makes_images = kind.result is ResultForm.IMAGES
    properties: dict[str, Any] = {SAVE_AS: _SAVE_AS} if makes_images else {}
    required = [SAVE_AS] if makes_images else []
    for field in declared(kind.request):
        if field.name not in _LEFT_OUT and field.name not in kind.ignores:
            properties[field.name] = _schema(field)
            if field.is_required or field.name in kind.needs:
                required.append(field.name)
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return ToolSpec(name=kind.name, description=kind.summary, parameters=parameters, spends=makes_images)


def _schema(field: Field) -> dict[str, Any]:
    """The schema of a field; bounds that depend on the model are checked when the job is submitted."""
    if field.parameter.source is not None and field.item_type is str:
        schema: dict[str, Any] = dict(_PATH)
    else:
        schema = _typed(field) | {"description": field.parameter.text}
    if field.item_type is field.type:
        return schema
    listed: dict[str, Any] = {"type": "array", "items": schema}
    return listed if field.parameter.max_items is None else listed | {"maxItems": field.parameter.max_items}


def _typed(field: Field) -> dict[str, Any]:
    if field.nested is not None:
        properties = {each.name: _schema(each) for each in declared(field.nested)}
        required = [each.name for each in declared(field.nested) if each.is_required]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    if field.item_type not in _JSON_TYPES:  # names that are the caller's own
        return {"type": "object", "additionalProperties": {"type": "string"}}
    return {"type": _JSON_TYPES[field.item_type]} | dict(_bounds(field))


def _bounds(field: Field) -> Iterator[tuple[str, Any]]:
    parameter = field.parameter
    if parameter.choices is not None:
        yield "enum", list(parameter.choices)
    if parameter.is_checked_later:
        return
    if parameter.low is not None:
        yield "exclusiveMinimum" if parameter.excludes_low else "minimum", parameter.low
    if parameter.high is not None:
        yield "exclusiveMaximum" if parameter.excludes_high else "maximum", parameter.high
