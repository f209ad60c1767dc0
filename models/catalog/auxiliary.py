"""Auxiliary models of the catalog: LoRAs, embeddings, ControlNets, upscalers, preprocessors and face restorers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.catalog.families import FAMILIES
from models.catalog.tables import read_table, subtables
from models.catalog.trained_names import trained_name
from models.errors import CatalogError

WEIGHTS = (".safetensors", ".pth", ".onnx")
_PLACES = ("file", "folder")


@dataclass(frozen=True, kw_only=True)
class AuxiliaryModel:
    """One auxiliary model: a file of weights, or a diffusers or transformers folder."""

    name: str
    path: Path
    family: str | None = None
    """The family of models that it fits; ``None`` if this is checked only when it is loaded."""
    aliases: tuple[str, ...] = ()
    licence: str = ""

    def problem(self) -> str | None:
        """Why it cannot be loaded, as far as the disk shows without reading the weights; ``None`` if it may load."""
        return None if self.path.exists() else f"there is nothing at {self.path}"

    def __post_init__(self) -> None:
        if self.family is not None and self.family not in FAMILIES:
            raise CatalogError(f"{self.name!r}: unknown family {self.family!r}; the families are {', '.join(FAMILIES)}")


class AuxiliaryModels(Mapping[str, AuxiliaryModel]):
    """The auxiliary models of one table by name; :meth:`resolve` also finds them by alias or file name."""

    def __init__(self, models: Mapping[str, AuxiliaryModel] = MappingProxyType({})) -> None:
        self._models = dict(models)
        self._names: dict[str, str] = {}
        for model in self._models.values():
            for known_as in (model.name, *model.aliases, model.path.name, model.path.stem):
                self._names.setdefault(known_as.casefold(), model.name)

    def resolve(self, name: str) -> AuxiliaryModel | None:
        """The model with this name, alias or file name, which may be followed by ``[hash]``; case is ignored.

        Folders before the name are ignored too, and a name that is not found may be that of a LoRA's training.
        """
        bare = without_hash(name)
        known_as = (name.casefold(), bare.casefold(), _without_folders(bare).casefold())
        found = next((self._names[each] for each in known_as if each in self._names), None)
        return self._trained_as(bare) if found is None else self._models[found]

    def _trained_as(self, name: str) -> AuxiliaryModel | None:
        named = ((each, trained_name(each.path)) for each in self.values())
        return next((each for each, trained in named if trained and trained.casefold() == name.casefold()), None)

    def __getitem__(self, name: str) -> AuxiliaryModel:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def _without_folders(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def without_hash(name: str) -> str:
    """``name.safetensors [0123abcd]`` without the hash that A1111 appends."""
    stem, bracket, rest = name.rpartition(" [")
    return stem if bracket and rest.endswith("]") else name


def read_auxiliary_models(table: str, entries: Any, relative_to: Path) -> dict[str, AuxiliaryModel]:
    """Read the entries of one table of the catalog; each has a ``file`` or a ``folder``.

    Raises:
        CatalogError: a key is missing, unknown or of the wrong type; the message names it.
    """
    tables = subtables(table, entries).items()
    return {name: _read_auxiliary_model(f"{table}.{name}", name, entry, relative_to) for name, entry in tables}


def _read_auxiliary_model(title: str, name: str, entry: Mapping[str, Any], relative_to: Path) -> AuxiliaryModel:
    places = [key for key in _PLACES if key in entry]
    if len(places) != 1:
        raise CatalogError(f"{title} needs exactly one of {', '.join(_PLACES)}")
    others = {key: value for key, value in entry.items() if key not in _PLACES}
    return read_table(title, AuxiliaryModel, {**others, "name": name, "path": entry[places[0]]}, relative_to)


def discover(folder: Path) -> Mapping[str, AuxiliaryModel]:
    """The auxiliary models in ``folder`` by file name: files of weights, and folders with a ``config.json``."""
    if not folder.is_dir():
        return {}
    found = (path for path in sorted(folder.iterdir()) if _is_weights(path))
    return {path.stem: AuxiliaryModel(name=path.stem, path=path) for path in found}


def _is_weights(path: Path) -> bool:
    return (path / "config.json").is_file() if path.is_dir() else path.suffix in WEIGHTS
