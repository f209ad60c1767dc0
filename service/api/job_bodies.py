"""Pydantic models of jobs and of their nested objects, generated from the declarations of their parameters.

The native API takes these bodies; the other dialects and the assistant use parts of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from types import GenericAlias
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar, Union

from pydantic import BaseModel, Field, RootModel, create_model
from pydantic.json_schema import SkipJsonSchema

from models.errors import FieldProblem, InvalidTicket, Problem, ProblemCode
from models.jobs.kinds import JobKind, job_kinds
from models.jobs.options import JobOptions
from models.jobs.parameters import Field as DeclaredField
from models.jobs.parameters import Parameter, declared
from models.jobs.params import JobRequest
from models.jobs.payload import build
from service.api.bodies import validated
from service.api.errors import invalid_field
from service.api.validation import FIRST_WRONG_ITEM, StrictBody, short_text
from service.backbone.webhooks.endpoints import URL_CHARS_MAX
from service.backbone.webhooks.events import JOB_EVENTS, Event
from service.jobs.webhooks import JobWebhook

_Value = TypeVar("_Value")
EventName = Literal["job.started", "job.progress", "job.finished"]
_Undocumented: Any = SkipJsonSchema


class NestedBody(StrictBody):
    """The base of the models of nested objects, such as one LoRA."""

    declaration: ClassVar[type]

    def to_value(self) -> Any:
        """The object as an instance of its declaration; fields that are null get their defaults."""
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


class WebhookBody(StrictBody):
    """A URL that gets events of one job."""

    url: str = Field(min_length=1, max_length=URL_CHARS_MAX)
    events: list[EventName] = Field(["job.finished"], min_length=1, max_length=len(JOB_EVENTS))

    def to_webhook(self) -> JobWebhook:
        """For the job service."""
        return JobWebhook(self.url, tuple(dict.fromkeys(map(Event, self.events))))


class JobEnvelope(StrictBody):
    """The base of the bodies that submit a job: ``kind``, the ``params`` of that kind, and the options of any job."""

    request: ClassVar[type[JobRequest]]
    kind: str
    params: BaseModel
    webhook: WebhookBody | None = Field(None, description="A URL that gets events of this job.")

    def to_request(self) -> JobRequest:
        """The request for the job service; parameters that are null count as left out."""
        return build(self.request, {"kind": self.kind, **self.params.model_dump(exclude_none=True)})

    def to_webhook(self) -> JobWebhook | None:
        """The webhook that comes with the job."""
        return None if self.webhook is None else self.webhook.to_webhook()

    def to_options(self) -> JobOptions:
        """The options of the job; those that are null count as left out."""
        return build(JobOptions, self.model_dump(exclude={"kind", "params", "webhook"}, exclude_none=True))


def job_body(kinds: tuple[JobKind, ...] | None = None, name: str = "JobBody") -> type[RootModel[Any]]:
    """A job for the OpenAPI document: a union of the bodies of ``kinds``, or of all registered kinds."""
    return _union(job_kinds() if kinds is None else kinds, name)


@cache
def _union(kinds: tuple[JobKind, ...], name: str) -> type[RootModel[Any]]:
    union: Any = Union[tuple(envelope(kind) for kind in kinds)]  # noqa: UP007
    root: Any = RootModel[Annotated[union, Field(discriminator="kind")]]
    return type(name, (root,), {"__doc__": "A job to submit.", "__module__": __name__})


@cache
def envelope(kind: JobKind) -> type[JobEnvelope]:
    """The body that submits a job of ``kind``."""
    shape: Any = {
        "kind": (Literal[kind.name], ...),  # type: ignore[name-defined]
        "params": (params_body(kind), ...),
        **{each.name: _field(each, is_required=False) for each in declared(JobOptions)},
    }
    made: type[JobEnvelope] = create_model(
        f"{_camel(kind.name)}Job", __base__=JobEnvelope, __doc__=kind.summary, **shape
    )
    made.request = kind.request
    return made


@cache
def params_body(kind: JobKind) -> type[BaseModel]:
    """The ``params`` of ``kind``; a field without effect on the kind is accepted and not documented."""
    shape: Any = {
        each.name: _field(
            each, is_required=each.is_required or each.name in kind.needs, is_documented=each.name not in kind.ignores
        )
        for each in declared(kind.request)
    }
    name = f"{_camel(kind.name)}Body"
    made: type[BaseModel] = create_model(name, __base__=StrictBody, __doc__=kind.request.__doc__, **shape)
    return made


@cache
def nested_body(declaration: type) -> type[NestedBody]:
    """The model of the object that ``declaration`` declares, named like ``LoraUseBody``."""
    shape: Any = {each.name: _field(each, is_required=each.is_required) for each in declared(declaration)}
    name = f"{declaration.__name__}Body"
    made: type[NestedBody] = create_model(name, __base__=NestedBody, __doc__=declaration.__doc__, **shape)
    made.declaration = declaration
    return made


def parse_job(document: object, kinds: Iterable[JobKind] | None = None, prefix: str = "") -> JobEnvelope:
    """The job in ``document``, a value parsed from JSON.

    Args:
        kinds: the kinds that are accepted; ``None`` accepts all that are registered.
        prefix: the path of ``document`` in the whole body, ending in a dot if it is not empty.

    Raises:
        InvalidTicket: the kind is not accepted, or the parameters do not fit it.
    """
    accepted = {kind.name: kind for kind in (job_kinds() if kinds is None else kinds)}
    if not isinstance(document, dict):
        raise invalid_field(prefix.rstrip(".") or "body", "must be an object", ProblemCode.MALFORMED)
    name = document.get("kind")
    kind = accepted.get(name) if isinstance(name, str) else None
    if kind is None:
        allowed = tuple(accepted)
        problem = Problem(f"must be one of {', '.join(allowed)}", ProblemCode.NOT_ALLOWED, allowed=allowed)
        raise InvalidTicket([FieldProblem.of(prefix + "kind", problem)])
    return validated(envelope(kind), document, prefix)


def _field(field: DeclaredField, *, is_required: bool, is_documented: bool = True) -> Any:
    """Type and default of one field, as :func:`pydantic.create_model` takes them."""
    inner: Any = field.item_type if field.nested is None else nested_body(field.nested)
    if inner is str and field.parameter.source is None:
        inner = short_text(field.name)
    if field.type is not field.item_type:
        inner = Annotated[GenericAlias(list, inner), FIRST_WRONG_ITEM]
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
    """The bounds as JSON Schema. They only document: the bounds are checked when the ticket is opened."""
    names = {
        "exclusiveMinimum" if parameter.excludes_low else "minimum": parameter.low,
        "exclusiveMaximum" if parameter.excludes_high else "maximum": parameter.high,
        "enum": None if parameter.choices is None else list(parameter.choices),
        "maxItems": parameter.max_items,
    }
    return {name: value for name, value in names.items() if value is not None}


def _add_bounds(shown: dict[str, Any], bounds: dict[str, Any]) -> None:
    """Put ``bounds`` beside the type that they limit, which for a nullable field is the branch that is not null."""
    branches: Iterable[dict[str, Any]] = shown.get("anyOf", [shown])
    next(each for each in branches if each.get("type") != "null").update(bounds)


def _camel(name: str) -> str:
    """``face_restore`` as ``FaceRestore``; ``txt2img`` as ``Txt2Img``, as A1111's own schemas spell it."""
    return "".join(part.capitalize().replace("2img", "2Img") for part in name.split("_"))
