"""Builds frozen dataclasses from JSON-ready values, and the reverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

_T = TypeVar("_T")


def build(cls: type[_T], payload: Mapping[str, Any]) -> _T:
    """A ``cls`` from ``payload``, nested dataclasses and tuples of them included; unknown keys are ignored.

    Raises:
        TypeError: a field without a default is missing.
    """
    hints = _hints(cls)  # type: ignore[arg-type]
    known = [each.name for each in fields(cls)]  # type: ignore[arg-type]
    return cls(**{name: _value(hints[name], payload[name]) for name in known if name in payload})


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if get_origin(hint) is UnionType:
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is tuple:
        return tuple(_value(get_args(hint)[0], each) for each in value)
    return build(hint, value) if isinstance(hint, type) and is_dataclass(hint) else value


def plain(value: Any) -> Any:
    """``value`` with dataclasses as dictionaries, within tuples, lists and dictionaries too.

    As ``dataclasses.asdict``, which copies each value besides, and takes several times as long.
    """
    names = _field_names(type(value))  # type: ignore[arg-type]  # mypy does not know that classes are hashable
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, (tuple, list)):
        return type(value)(map(plain, value))
    return {name: plain(each) for name, each in value.items()} if isinstance(value, dict) else value


@cache
def _field_names(cls: type) -> tuple[str, ...] | None:
    """The fields of a dataclass; ``None`` if it is none."""
    return tuple(each.name for each in fields(cls)) if is_dataclass(cls) else None


class Payload:
    """The base of dataclasses that are stored or sent as JSON."""

    def to_payload(self) -> dict[str, Any]:
        """JSON-ready values; the keys are those of the native API."""
        return plain(self)  # type: ignore[no-any-return]

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_payload` wrote; keys of later versions are ignored."""
        return build(cls, payload)
