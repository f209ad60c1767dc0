"""How a parameter of a job is declared: once, beside its type, with its bounds and its description.

A request is a dataclass whose fields are ``Annotated[type, Parameter(...)]``. The bodies of the native API, the OpenAPI
document, the schemas of the assistant's tools and the checks of bounds all read these declarations.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from models.errors import FieldProblem, PhotogramError, Problem, ProblemCode

SourceRole = Literal["image", "mask", "example", "archive"]
"""How a source is used: as an image, as a mask, or as a file that the function of the kind reads by itself, which is
one of many images or a zip archive."""
DECODED: tuple[SourceRole, ...] = ("image", "mask")
"""The roles whose images are decoded before the job runs."""
_PLAIN_TYPES = (str, int, float, bool)
TEXTS = dict[str, str]
"""The type of a field whose names are the caller's own."""


class DeclarationError(PhotogramError, ValueError):
    """A request class declares a field in a way that cannot be served."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """The declaration of one parameter: its bounds for every model, and its description."""

    text: str
    """One line for people, in Markdown."""
    low: float | None = None
    high: float | None = None
    excludes_low: bool = False
    """Whether the value must be above ``low``, not at least ``low``; ``excludes_high`` is the same for ``high``."""
    excludes_high: bool = False
    is_checked_later: bool = False
    """Whether the bounds are only documented here, and checked elsewhere because they depend on the model or a sum."""
    choices: tuple[str | int, ...] | None = None
    max_items: int | None = None
    """The most entries that a list may have."""
    source: SourceRole | None = None
    """Set if the value names an image or archive that the job starts from: how it is used."""
    if_left_out: str | None = None
    """The effective value if a request leaves the parameter out, as text; set where there is no plain default."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a request class, as it was declared."""

    name: str
    type: Any
    """The type without ``Annotated`` and without ``None``: ``int``, a dataclass, ``tuple[Dataclass, ...]`` ..."""
    parameter: Parameter
    is_required: bool
    default: Any
    """``None`` if the field is required or has no plain default."""

    @property
    def item_type(self) -> Any:
        """The type of the entries of a list, or the type itself."""
        return get_args(self.type)[0] if get_origin(self.type) is tuple else self.type

    @property
    def nested(self) -> type | None:
        """The dataclass of the field or of the entries of its list; ``None`` for other types."""
        found = self.item_type
        return found if isinstance(found, type) and is_dataclass(found) else None


def declared(request: type[Any]) -> tuple[Field, ...]:
    """The declared fields of ``request``, in order; a field without a :class:`Parameter` (``kind``) is left out."""
    return _declared(request)  # type: ignore[arg-type]  # mypy takes the class for one of its instances


@cache
def _declared(request: Any) -> tuple[Field, ...]:
    hints = get_type_hints(request, include_extras=True)
    return tuple(_field(each, hints[each.name], request.__name__) for each in fields(request) if each.name != "kind")


def _field(declaration: dataclasses.Field[Any], hint: Any, owner: str) -> Field:
    place = f"{owner}.{declaration.name}"
    inner, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    parameter = next((note for note in notes if isinstance(note, Parameter)), None)
    if parameter is None:
        raise DeclarationError(f"{place} must be Annotated with a Parameter")
    field = Field(
        name=declaration.name,
        type=_without_none(inner, place),
        parameter=parameter,
        is_required=declaration.default is MISSING and declaration.default_factory is MISSING,
        default=None if declaration.default is MISSING else declaration.default,
    )
    if field.nested is None and field.item_type not in (*_PLAIN_TYPES, TEXTS):
        raise DeclarationError(
            f"{place} has the type {inner}: only str, int, float, bool, dataclasses, tuples of them, and dict[str, str]"
        )
    return field


def _without_none(hint: Any, place: str) -> Any:
    if get_origin(hint) is not UnionType:
        return hint
    others = [each for each in get_args(hint) if each is not NoneType]
    if len(others) != 1:
        raise DeclarationError(f"{place} has the type {hint}: a field has one type, or one type and None")
    return others[0]


def check_declarations(request: type[Any]) -> None:
    """Raise :class:`DeclarationError` unless all fields of ``request``, nested ones included, are declared properly."""
    for field in declared(request):
        if field.nested is not None:
            check_declarations(field.nested)


def bound_problems(request: type, value: Any, prefix: str = "") -> Iterator[FieldProblem]:
    """Every field of ``value`` that breaks a bound that ``request`` declares, in the order of the declarations.

    Args:
        value: has the fields of ``request``: a request, or effective parameters.
        prefix: the path of ``value`` in the whole request, ending in a dot if it is not empty.
    """
    for field in declared(request):
        found = getattr(value, field.name, None)
        if found is None:
            continue
        place = prefix + field.name
        if isinstance(found, tuple):
            yield from _list_problems(field, found, place)
        else:
            yield from _value_problems(field, found, place)


def _value_problems(field: Field, found: Any, place: str) -> Iterator[FieldProblem]:
    if field.nested is not None:
        yield from bound_problems(field.nested, found, place + ".")
    elif problem := bound_problem(field.parameter, found):
        yield FieldProblem.of(place, problem)


def _list_problems(field: Field, found: tuple[Any, ...], place: str) -> Iterator[FieldProblem]:
    limit = field.parameter.max_items
    if limit is None or len(found) <= limit:
        for index, each in enumerate(found):
            yield from _value_problems(field, each, f"{place}[{index}]")
    elif not field.parameter.is_checked_later:
        message = f"may have at most {limit} entries, and has {len(found)}"
        yield FieldProblem.of(place, Problem(message, ProblemCode.TOO_LONG, high=limit))


def bound_problem(parameter: Parameter, value: object) -> Problem | None:
    """Why ``value`` is outside of what ``parameter`` allows; ``None`` if it is inside."""
    if parameter.choices is not None and value not in parameter.choices:
        names = [str(each) for each in parameter.choices]
        message = f"must be {' or '.join(names)}" if len(names) == 2 else f"must be one of {', '.join(names)}"
        return Problem(message, ProblemCode.NOT_ALLOWED, allowed=parameter.choices)
    if isinstance(value, str) and not _is_unicode(value):
        return Problem("must be valid Unicode text", ProblemCode.MALFORMED)
    if not isinstance(value, int | float) or parameter.is_checked_later:
        return None
    if not _is_within(parameter, value):
        return Problem(range_text(parameter), ProblemCode.OUT_OF_RANGE, parameter.low, parameter.high)
    if not math.isfinite(value):
        return Problem("must be a finite number", ProblemCode.OUT_OF_RANGE, parameter.low, parameter.high)
    return None


def _is_unicode(text: str) -> bool:
    """Whether ``text`` has no lone surrogates, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_within(parameter: Parameter, value: float) -> bool:
    low, high = parameter.low, parameter.high
    if low is not None and not (value > low if parameter.excludes_low else value >= low):
        return False
    return high is None or (value < high if parameter.excludes_high else value <= high)


def range_text(parameter: Parameter) -> str:
    """The bounds in words, as in ``must be from 0 to 50``."""
    low, high = parameter.low, parameter.high
    if low is not None and high is not None and not (parameter.excludes_low or parameter.excludes_high):
        return f"must be from {low:g} to {high:.16g}"
    parts = []
    if low is not None:
        parts.append(f"{'above' if parameter.excludes_low else 'at least'} {low:g}")
    if high is not None:
        parts.append(f"{'below' if parameter.excludes_high else 'at most'} {high:.16g}")
    return f"must be {' and '.join(parts)}"


def sources(request: type, value: Any, prefix: str = "") -> Iterator[tuple[str, str, SourceRole]]:
    """Path, source string and role of every image that ``value`` starts from.

    Args:
        request: the class that declares the fields.
        value: as in :func:`bound_problems`.
    """
    for field in _fields_with_sources(request):
        found, place = getattr(value, field.name, None), prefix + field.name
        if found is None:
            continue
        items = enumerate(found) if isinstance(found, tuple) else [(None, found)]
        for index, each in items:
            path = place if index is None else f"{place}[{index}]"
            if field.parameter.source is not None:
                yield path, each, field.parameter.source
            elif field.nested is not None:
                yield from sources(field.nested, each, path + ".")


@cache
def _fields_with_sources(request: type) -> tuple[Field, ...]:
    """The fields that ``request`` declares for images, or for objects that have images."""
    return tuple(
        field
        for field in declared(request)
        if field.parameter.source is not None or (field.nested is not None and _fields_with_sources(field.nested))
    )
