"""Edits of the catalog file that keep its comments and order, and are written only if the result is valid."""

from __future__ import annotations

import fcntl
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import tomlkit
from tomlkit.exceptions import ParseError

from models.catalog.catalog import EXTRAS, HOUSE, Catalog, ModelSpec
from models.catalog.names import did_you_mean
from models.catalog.vision import EYES, VISION
from models.errors import CatalogError
from service.backbone.files import make_folder, replace_file, storing

Place: TypeAlias = tuple[str, str]
"""The table of an entry and its name."""
_MODELS = "models"
TABLES = (_MODELS, VISION, *EXTRAS)
"""The tables whose entries can be removed."""


class NameTaken(CatalogError):
    """The name of a new entry belongs to a model.

    Args:
        can_overwrite: whether it is an entry of the file, which the new one may replace.
    """

    def __init__(self, message: str, *, can_overwrite: bool) -> None:
        super().__init__(message)
        self.can_overwrite = can_overwrite


def add_entry(path: Path, name: str, entry: Mapping[str, Any], *, is_default: bool, overwrite: bool = False) -> None:
    """Add ``[models.name]`` to the file at ``path``, which is made if it does not exist.

    Raises:
        NameTaken: the name is taken, unless it is that of an entry to ``overwrite``; the file is unchanged.
        CatalogError: the entry is not valid; the file is unchanged.
    """
    with _locked(path):
        _require_free(path, name, overwrite=overwrite)
        _put(path, {(_MODELS, name): entry}, name if is_default else None)


def planned_model(path: Path, name: str, entry: Mapping[str, Any], *, overwrite: bool = False) -> ModelSpec:
    """The model that :func:`add_entry` would add; raises as that does, and writes nothing."""
    _require_free(path, name, overwrite=overwrite)
    return Catalog.parse(tomlkit.dumps(_with_entries(path, {(_MODELS, name): entry})), path)[name]


def _require_free(path: Path, name: str, *, overwrite: bool) -> None:
    found = Catalog.load(path).resolve(name)
    if found is None:
        return
    if found.name == HOUSE:
        raise NameTaken(f"the model {name!r} is built in", can_overwrite=False)
    if found.name != name:
        raise NameTaken(f"{name!r} is another name of the model {found.name!r}", can_overwrite=False)
    if not overwrite:
        raise NameTaken(f"there is a model {name!r} already", can_overwrite=True)


def put_entries(path: Path, entries: Mapping[Place, Mapping[str, Any]], default: str | None = None) -> None:
    """Write entries into their tables, over those with the same names; ``default`` becomes the default model.

    Raises:
        CatalogError: an entry is not valid; the file is unchanged.
    """
    with _locked(path):
        _put(path, entries, default)


def _put(path: Path, entries: Mapping[Place, Mapping[str, Any]], default: str | None) -> None:
    document = _with_entries(path, entries)
    if default is not None:
        document["default"] = default
    Catalog.parse(tomlkit.dumps(document), path)
    _write(path, document)


def _with_entries(path: Path, entries: Mapping[Place, Mapping[str, Any]]) -> Any:
    document = _read(path)
    for (table, name), entry in entries.items():
        document.setdefault(table, tomlkit.table(is_super_table=True))[name] = dict(entry)
    return document


def change_entry(path: Path, name: str, key: str, value: str) -> None:
    """Set ``key`` of the entry ``[models.name]``.

    Raises:
        CatalogError: there is no such entry, or the value is not valid; the file is unchanged.
    """
    with _locked(path):
        document = _read(path)
        _entries(document, _MODELS, name, path)[name][key] = value
        Catalog.parse(tomlkit.dumps(document), path)
        _write(path, document)


def remove_entry(path: Path, name: str, table: str | None = None) -> str:
    """Remove the entry of a model, a vision model or an auxiliary model, and return its table.

    If it was the default model, the built-in checkpoint becomes the default.

    Args:
        table: the table of the entry; ``None`` is the only one that has the name.

    Raises:
        CatalogError: there is no such entry, several tables have one, it is built in, or another entry refers
            to it; the file is unchanged.
    """
    if name in (HOUSE, EYES):
        raise CatalogError(f"{name!r} is built in and cannot be removed")
    with _locked(path):
        document = _read(path)
        found = [each for each in TABLES if _has(document, each, name)] if table is None else [table]
        if len(found) > 1:
            raise CatalogError(f"there are several entries called {name!r}, in {', '.join(found)}: name one of these")
        table = found[0] if found else _MODELS
        if not _has(document, table, name) and (place := _found_by_itself(path, name)) is not None:
            raise CatalogError(f"{name!r} has no entry in {path}, but is found at {place}: delete or move that")
        del _entries(document, table, name, path)[name]
        if table == _MODELS and document.get("default") == name:
            del document["default"]
        Catalog.parse(tomlkit.dumps(document), path)
        _write(path, document)
    return table


def _found_by_itself(path: Path, name: str) -> Path | None:
    """Where an auxiliary model is that the catalog finds in a folder beside its file, without an entry."""
    catalog = Catalog.load(path)
    found = (getattr(catalog, table).get(name) for table in EXTRAS)
    return next((each.path for each in found if each is not None), None)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time read and write the file; the lock is beside it, because edits replace the file."""
    with storing(path.parent):
        make_folder(path.parent)
        lock = path.with_name(f".{path.name}.lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _entries(document: Any, table: str, name: str, path: Path) -> Any:
    """The ``table`` of the document, which has an entry ``name``."""
    entries = document.get(table, {})
    if not _has(document, table, name):
        hint = did_you_mean(name, entries if isinstance(entries, dict) else ())
        raise CatalogError(f"there is no model {name!r} in {path}{hint}")
    return entries


def _has(document: Any, table: str, name: str) -> bool:
    entries = document.get(table)
    return isinstance(entries, dict) and name in entries


def _read(path: Path) -> Any:
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    except (ParseError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: {error}") from error


def _write(path: Path, document: Any) -> None:
    text = tomlkit.dumps(document)
    # Raises if tomlkit put a top-level key behind a table, where it would belong to that table.
    tomllib.loads(text)
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise CatalogError(
            "the catalog is UTF-8 text, which a path or name of the entry is not: rename the file"
        ) from error
    replace_file(path, data)
