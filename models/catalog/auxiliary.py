"""What the catalog names beside the models: LoRAs, embeddings, ControlNets, upscalers and other helpers' weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.catalog.families import FAMILIES
from models.catalog.tables import read_table, subtables
from models.errors import CatalogError

WEIGHTS = (".safetensors", ".pth", ".onnx")
_PLACES = ("file", "folder")


@dataclass(frozen=True, kw_only=True)
class AuxiliaryModel:
    """Weights of one helper, in one file or one diffusers or transformers folder."""

    name: str
    path: Path
    family: str | None = None
    """The family of models it is made for; ``None`` if that is found out when it is loaded."""
    aliases: tuple[str, ...] = ()
    licence: str = ""

    def problem(self) -> str | None:
        """Why it certainly cannot be loaded, as far as a look at the disk tells; ``None`` if it may."""
        return None if self.path.exists() else f"there is nothing at {self.path}"

    def __post_init__(self) -> None:
        if self.family is not None and self.family not in FAMILIES:
            raise CatalogError(f"{self.name!r}: unknown family {self.family!r}; there are {', '.join(FAMILIES)}")


class AuxiliaryModels(Mapping[str, AuxiliaryModel]):
    """The helpers of one sort by name; found by an alias or by the file's name too, and with a hash behind it."""

    def __init__(self, extras: Mapping[str, AuxiliaryModel] = MappingProxyType({})) -> None:
        self._extras = dict(extras)
        self._names: dict[str, str] = {}
        for extra in self._extras.values():
            for known_as in (extra.name, *extra.aliases, extra.path.name, extra.path.stem):
                self._names.setdefault(known_as.casefold(), extra.name)

    def resolve(self, name: str) -> AuxiliaryModel | None:
        """The helper that ``name`` means: a name, an alias or a file's name, ``[hash]`` behind it or not."""
        known_as = (name.casefold(), without_hash(name).casefold())
        found = next((self._names[each] for each in known_as if each in self._names), None)
        return None if found is None else self._extras[found]

    def __getitem__(self, name: str) -> AuxiliaryModel:
        return self._extras[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._extras)

    def __len__(self) -> int:
        return len(self._extras)


def without_hash(name: str) -> str:
    """``name.safetensors [0123abcd]`` without the hash that A1111 puts behind it."""
    stem, bracket, rest = name.rpartition(" [")
    return stem if bracket and rest.endswith("]") else name


def read_auxiliary_models(sort: str, entries: Any, relative_to: Path) -> dict[str, AuxiliaryModel]:
    """The helpers in the catalog's table ``sort``; each has a ``file`` or a ``folder``.

    Raises:
        CatalogError: naming the key that is missing, unknown or of the wrong type.
    """
    tables = subtables(sort, entries).items()
    return {name: _read_auxiliary_model(f"{sort}.{name}", name, entry, relative_to) for name, entry in tables}


def _read_auxiliary_model(title: str, name: str, entry: Mapping[str, Any], relative_to: Path) -> AuxiliaryModel:
    places = [key for key in _PLACES if key in entry]
    if len(places) != 1:
        raise CatalogError(f"{title} needs exactly one of {', '.join(_PLACES)}")
    others = {key: value for key, value in entry.items() if key not in _PLACES}
    return read_table(title, AuxiliaryModel, {**others, "name": name, "path": entry[places[0]]}, relative_to)


def discover(folder: Path) -> Mapping[str, AuxiliaryModel]:
    """What was dropped into ``folder``: files of weights, and folders with a ``config.json``, by their stems."""
    if not folder.is_dir():
        return {}
    found = (path for path in sorted(folder.iterdir()) if _is_weights(path))
    return {path.stem: AuxiliaryModel(name=path.stem, path=path) for path in found}


def _is_weights(path: Path) -> bool:
    return (path / "config.json").is_file() if path.is_dir() else path.suffix in WEIGHTS
