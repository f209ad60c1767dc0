"""Auxiliary models of the catalog: LoRAs, embeddings, ControlNets, upscalers, preprocessors and face restorers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.catalog.families import FAMILIES
from models.catalog.file_kinds import EMBEDDING, LORA, TABLES, kind_of, misplaced
from models.catalog.lora_files import look_at
from models.catalog.tables import read_table, subtables
from models.catalog.trained_names import trained_name
from models.catalog.weights import PICKLES, file_problem, walk
from models.errors import CatalogError

LORAS, EMBEDDINGS = TABLES[LORA], TABLES[EMBEDDING]
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
    table: str = ""
    """The table of the catalog that it is in; one of a LoRA has further checks."""

    def problem(self) -> str | None:
        """Why it cannot be loaded, as far as the disk shows without reading the weights; ``None`` if it may load."""
        return self.weights_problem() if self.path.exists() else f"there is nothing at {self.path}"

    def weights_problem(self) -> str | None:
        """What is wrong with its file, if it has one; the text has no path. A missing file is no problem here."""
        if not self.path.is_file():
            return None
        found = file_problem(self.path)
        if found is None and self.table == LORAS:
            return look_at(self.path).problem
        return found or misplaced(self.path, self.table) or self._embedding_problem()

    def _embedding_problem(self) -> str | None:
        kind = kind_of(self.path) if self.table == EMBEDDINGS else None
        return kind.problem if kind is not None and kind.kind == EMBEDDING else None

    @property
    def fitting_family(self) -> str | None:
        """The family of models that it fits, as the catalog says or its file tells; ``None`` if neither does."""
        return self.family or (look_at(self.path).family if self.table == LORAS and self.path.is_file() else None)

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
                self._names.setdefault(_key(known_as), model.name)

    def resolve(self, name: str) -> AuxiliaryModel | None:
        """The model with this name, alias or file name, which may be followed by ``[hash]``; case is ignored.

        Folders before the name are ignored too, and a name that is not found may be that of a LoRA's training.
        """
        bare = without_hash(name)
        known_as = (_key(name), _key(bare), _key(_without_folders(bare)))
        found = next((self._names[each] for each in known_as if each in self._names), None)
        return self._trained_as(bare) if found is None else self._models[found]

    def _trained_as(self, name: str) -> AuxiliaryModel | None:
        named = ((each, trained_name(each.path)) for each in self.values())
        return next((each for each, trained in named if trained and _key(trained) == _key(name)), None)

    def __getitem__(self, name: str) -> AuxiliaryModel:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def _without_folders(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _key(name: str) -> str:
    """``name`` as it is compared: file systems differ in case and in how they spell accents."""
    return unicodedata.normalize("NFC", name).casefold()


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
    return {name: _read_auxiliary_model(table, name, entry, relative_to) for name, entry in tables}


def _read_auxiliary_model(table: str, name: str, entry: Mapping[str, Any], relative_to: Path) -> AuxiliaryModel:
    title = f"{table}.{name}"
    places = [key for key in _PLACES if key in entry]
    if len(places) != 1:
        raise CatalogError(f"{title} needs exactly one of {', '.join(_PLACES)}")
    others = {key: value for key, value in entry.items() if key not in _PLACES}
    if "table" in others:
        raise CatalogError(f"{title}: unknown key 'table'")
    given = {"name": name, "path": entry[places[0]], "table": table}
    return read_table(title, AuxiliaryModel, {**others, **given}, relative_to)


def discover(folder: Path) -> Mapping[str, AuxiliaryModel]:
    """The auxiliary models in ``folder`` and the folders below it, by file name without its suffix.

    They are files of weights and folders with a ``config.json``. Of two files with the same name, the one in the lower
    folder is called by its path, as in ``style/film``; a pickle beside weights of the same name is left out.
    """
    found: dict[str, AuxiliaryModel] = {}
    for within, paths in walk(folder):
        usable_first = sorted(paths, key=lambda path: path.suffix.lower() in PICKLES)
        stems = {_readable(path.stem): path for path in reversed(usable_first)}
        for stem, path in sorted(stems.items()):
            below = "/".join((*map(_readable, within.relative_to(folder).parts), stem))
            name = below if stem in found else stem
            found[name] = AuxiliaryModel(name=name, path=path, aliases=_further(below, name), table=folder.name)
    return found


def _readable(name: str) -> str:
    """``name`` as valid Unicode: file systems allow any bytes."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _further(below: str, name: str) -> tuple[str, ...]:
    """The other names of a file in a sub-folder: its path, with either slash."""
    return tuple(each for each in dict.fromkeys((below, below.replace("/", "\\"))) if each != name)
