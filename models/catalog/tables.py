"""Reads TOML tables as frozen dataclasses and refuses unknown keys and values of the wrong type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from models.errors import CatalogError

_T = TypeVar("_T")


def read_table(title: str, cls: type[_T], table: Any, relative_to: Path) -> _T:
    """An instance of ``cls`` from ``table``; relative paths start from ``relative_to``, and tables may be nested.

    Raises:
        CatalogError: naming the key that is unknown or of the wrong type.
    """
    if not isinstance(table, dict):
        raise CatalogError(f"{title} must be a table")
    hints, known = get_type_hints(cls), {each.name for each in fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise CatalogError(f"{title}: unknown key {key!r}")
        values[key] = _read(title, key, _without_none(hints[key]), value, relative_to)
    return cls(**values)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) is not UnionType:
        return hint
    return next(each for each in get_args(hint) if each is not type(None))


def _read(title: str, key: str, hint: Any, value: Any, relative_to: Path) -> Any:
    if is_dataclass(hint):
        return read_table(f"{title}.{key}", hint, value, relative_to)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        return _names(title, key, value)
    if hint is Path and isinstance(value, str):
        return relative_to / _expanded(title, key, value)
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or isinstance(value, bool) != (hint is bool):
        raise CatalogError(f"{title}: {key} must be of type {'str' if hint is Path else hint.__name__}")
    return value


def _names(title: str, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise CatalogError(f"{title}: {key} must be a list of non-empty strings")
    return tuple(value)


def _expanded(title: str, key: str, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise CatalogError(f"{title}: {key}: {error}") from error


def subtables(title: str, table: Any) -> Mapping[str, Any]:
    """The tables in ``table``, by name.

    Raises:
        CatalogError: ``table`` is not a table of tables, or a name is empty.
    """
    if not isinstance(table, dict):
        raise CatalogError(f"{title} must be a table")
    for name, entry in table.items():
        if not name:
            raise CatalogError(f"an entry of {title} has no name")
        if not isinstance(entry, dict):
            raise CatalogError(f"{title}: {name!r} must be a table")
    return table
