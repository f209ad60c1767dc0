"""Edits of the catalog file that keep its comments and order, and are written only if the result is valid."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError

from models.catalog.catalog import HOUSE, Catalog, ModelSpec
from models.catalog.names import did_you_mean
from models.errors import CatalogError
from service.backbone.files import replace_file


def add_entry(path: Path, name: str, entry: Mapping[str, Any], *, is_default: bool) -> None:
    """Add ``[models.name]`` to the file at ``path``, which is made if it does not exist.

    Raises:
        CatalogError: the name is taken, or the entry is not valid; the file is unchanged.
    """
    _write(path, _with_entry(path, name, entry, is_default=is_default))


def planned_model(path: Path, name: str, entry: Mapping[str, Any]) -> ModelSpec:
    """The model that :func:`add_entry` would add; raises as that does, and writes nothing."""
    return Catalog.parse(tomlkit.dumps(_with_entry(path, name, entry, is_default=False)), path)[name]


def _with_entry(path: Path, name: str, entry: Mapping[str, Any], *, is_default: bool) -> Any:
    if Catalog.load(path).resolve(name) is not None:
        raise CatalogError(f"there is a model {name!r} already")
    document = _read(path)
    document.setdefault("models", tomlkit.table(is_super_table=True))[name] = dict(entry)
    if is_default:
        document["default"] = name
    Catalog.parse(tomlkit.dumps(document), path)
    return document


def remove_entry(path: Path, name: str) -> None:
    """Remove ``[models.name]``; if it was the default, the built-in model becomes the default.

    Raises:
        CatalogError: there is no such entry, it is the built-in model, or another entry refers to it; the file is
            unchanged.
    """
    if name == HOUSE:
        raise CatalogError(f"{HOUSE!r} is built in and cannot be removed")
    document = _read(path)
    models = document.get("models", {})
    if not isinstance(models, dict) or name not in models:
        hint = did_you_mean(name, models if isinstance(models, dict) else ())
        raise CatalogError(f"there is no model {name!r} in {path}{hint}")
    del models[name]
    if document.get("default") == name:
        del document["default"]
    Catalog.parse(tomlkit.dumps(document), path)
    _write(path, document)


def _read(path: Path) -> Any:
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    except (ParseError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: {error}") from error


def _write(path: Path, document: Any) -> None:
    text = tomlkit.dumps(document)
    # Raises if tomlkit put a top-level key behind a table, where it would belong to that table.
    tomllib.loads(text)
    replace_file(path, text.encode())
