"""The native bodies: one pydantic model per kind of job, made from the declarations of its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from types import GenericAlias
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, Union

from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model
from pydantic.json_schema import SkipJsonSchema

from models.jobs.kinds import JobKind, job_kinds
from models.jobs.parameters import Field as DeclaredField
from models.jobs.parameters import Parameter, declared
from models.jobs.params import JobParams, JobRequest
from models.jobs.payload import build

_Value = TypeVar("_Value")
_Undocumented: Any = SkipJsonSchema


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class NestedBody(_Body):
    """The base of the bodies of nested objects, such as one LoRA."""

    declaration: ClassVar[type]

    def to_value(self) -> Any:
        """The dataclass that declares the object; fields that are null get their defaults."""
        return build(self.declaration, self.model_dump(exclude_none=True))


class BodyOf(Generic[_Value]):
    """``BodyOf[LoraUse]`` is the pydantic model of what ``LoraUse`` declares, for the bodies of other dialects."""

    def __class_getitem__(cls, declaration: type) -> type[NestedBody]:
        return nested_body(declaration)

    def to_value(self) -> _Value:
        """As :meth:`NestedBody.to_value`."""
        raise NotImplementedError

    def model_dump(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """As :meth:`pydantic.BaseModel.model_dump`."""
        raise NotImplementedError


class JobEnvelope(_Body):
    """The base of all bodies that submit a job: ``kind``, and the ``params`` of that kind."""

    request: ClassVar[type[JobRequest]]
    kind: str
    params: BaseModel

    def to_request(self) -> JobRequest:
        """The request that all dialects are translated into; parameters that are null count as left out."""
        return build(self.request, {"kind": self.kind, **self.params.model_dump(exclude_none=True)})


def job_body(kinds: tuple[JobKind, ...] | None = None, name: str = "JobBody") -> type[RootModel[Any]]:
    """The body of ``POST /v1/jobs`` for the OpenAPI document: a union of ``kinds``, or of all registered ones."""
    return _union(job_kinds() if kinds is None else kinds, name)


@cache
def _union(kinds: tuple[JobKind, ...], name: str) -> type[RootModel[Any]]:
    union: Any = Union[tuple(envelope(kind) for kind in kinds)]  # noqa: UP007
    root: Any = RootModel[Annotated[union, Field(discriminator="kind")]]
    return type(name, (root,), {"__doc__": "A job to submit.", "__module__": __name__})


JOB_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobBody"}}},
    }
}
"""The OpenAPI entry of the body; :func:`document_jobs` adds the examples."""


def document_jobs(document: dict[str, Any]) -> None:
    """Complete the OpenAPI ``document`` by what depends on the registered kinds: examples, and effective parameters."""
    examples = {name: {"value": body} for name, body in job_examples().items()}
    for item in document["paths"].values():
        for operation in item.values():
            media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if media.get("schema") == {"$ref": "#/components/schemas/JobBody"}:
                media["examples"] = examples
    shown = document["components"]["schemas"]["JobView"]["properties"]["params"]
    shown["anyOf"] = [{"$ref": f"#/components/schemas/{each.__name__}"} for each in params_classes()]


def params_classes() -> tuple[type[JobParams], ...]:
    """The classes of the effective parameters of all registered kinds, each once."""
    return tuple(dict.fromkeys(kind.params for kind in job_kinds() if kind.params is not JobParams))


def job_examples() -> dict[str, dict[str, Any]]:
    """One body of each kind, by the kind's name."""
    return {kind.name: {"kind": kind.name, "params": dict(kind.example)} for kind in job_kinds()}


@cache
def envelope(kind: JobKind) -> type[JobEnvelope]:
    """The body that submits a job of ``kind``."""
    shape: Any = {"kind": (Literal[kind.name], ...), "params": (params_body(kind), ...)}  # type: ignore[name-defined]
    made: type[JobEnvelope] = create_model(
        f"{_camel(kind.name)}Job", __base__=JobEnvelope, __doc__=kind.summary, **shape
    )
    made.request = kind.request
    return made


@cache
def params_body(kind: JobKind) -> type[BaseModel]:
    """The ``params`` of ``kind``; a field that has no effect on the kind is accepted, and not documented."""
    shape: Any = {
        each.name: _field(
            each, is_required=each.is_required or each.name in kind.needs, is_documented=each.name not in kind.ignores
        )
        for each in declared(kind.request)
    }
    name = f"{_camel(kind.name)}Body"
    made: type[BaseModel] = create_model(name, __base__=_Body, __doc__=kind.request.__doc__, **shape)
    return made


@cache
def nested_body(declaration: type) -> type[NestedBody]:
    """The body of one object that ``declaration`` declares, as ``LoraUseBody``."""
    shape: Any = {each.name: _field(each, is_required=each.is_required) for each in declared(declaration)}
    name = f"{declaration.__name__}Body"
    made: type[NestedBody] = create_model(name, __base__=NestedBody, __doc__=declaration.__doc__, **shape)
    made.declaration = declaration
    return made


def _field(field: DeclaredField, *, is_required: bool, is_documented: bool = True) -> Any:
    """Type and default of one field, as :func:`pydantic.create_model` takes them."""
    inner: Any = field.type if field.nested is None else nested_body(field.nested)
    if field.type is not field.item_type:
        inner = GenericAlias(list, inner)
    if not is_documented:
        return (_Undocumented[inner | None], None)
    described = Field(
        description=_description(field, is_required),
        json_schema_extra=partial(_add_bounds, bounds=_schema_bounds(field.parameter)),
    )
    if is_required:
        return (Annotated[inner, described], ...)
    return (Annotated[inner | None, described], None)


def _description(field: DeclaredField, is_required: bool) -> str:
    parameter, left_out = field.parameter, field.parameter.if_left_out
    if left_out is None and field.default not in (None, ()):
        left_out = f"`{field.default}`" if isinstance(field.default, str) else _plain(field.default)
    return parameter.text if is_required or left_out is None else f"{parameter.text} If left out: {left_out}."


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"  # type: ignore[str-format]


def _schema_bounds(parameter: Parameter) -> dict[str, Any]:
    """The bounds as JSON Schema says them; they are documented here, and checked when the ticket is opened."""
    names = {
        "exclusiveMinimum" if parameter.excludes_low else "minimum": parameter.low,
        "exclusiveMaximum" if parameter.excludes_high else "maximum": parameter.high,
        "enum": None if parameter.choices is None else list(parameter.choices),
        "maxItems": parameter.max_items,
    }
    return {name: value for name, value in names.items() if value is not None}


def _add_bounds(shown: dict[str, Any], bounds: dict[str, Any]) -> None:
    """Put ``bounds`` beside the type that they limit: in the branch of a nullable field that is not null."""
    branches: Iterable[dict[str, Any]] = shown.get("anyOf", [shown])
    next(each for each in branches if each.get("type") != "null").update(bounds)


def _camel(name: str) -> str:
    """``face_restore`` as ``FaceRestore``; ``txt2img`` as ``Txt2Img``, as A1111's own schemas spell it."""
    return "".join(part.capitalize().replace("2img", "2Img") for part in name.split("_"))
