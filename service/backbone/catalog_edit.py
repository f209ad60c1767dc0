"""Edits of the catalog's file that keep its comments and order, and never leave it unreadable."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError

from models.catalog.catalog import HOUSE, Catalog
from models.errors import CatalogError


def add_entry(path: Path, name: str, entry: Mapping[str, Any], *, is_default: bool) -> None:
    """Add ``[models.name]`` to the file at ``path``, making the file if need be.

    Raises:
        CatalogError: the name is taken, or the entry makes no sense; the file stays as it was.
    """
    if Catalog.load(path).resolve(name) is not None:
        raise CatalogError(f"there is a model {name!r} already")
    document = _read(path)
    document.setdefault("models", tomlkit.table(is_super_table=True))[name] = dict(entry)
    if is_default:
        document["default"] = name
    Catalog.parse(tomlkit.dumps(document), path)
    _write(path, document)


def remove_entry(path: Path, name: str) -> None:
    """Remove ``[models.name]``; requests that name no model go to the built-in one if it was the default.

    Raises:
        CatalogError: there is no such entry, it is the built-in model, or another entry names it; the file stays.
    """
    if name == HOUSE:
        raise CatalogError(f"{HOUSE!r} is built in and stays")
    document = _read(path)
    models = document.get("models", {})
    if not isinstance(models, dict) or name not in models:
        raise CatalogError(f"there is no model {name!r} in {path}")
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
    # Top-level keys must come before the tables; tomlkit appends them where they fit, and this proves it.
    tomllib.loads(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
