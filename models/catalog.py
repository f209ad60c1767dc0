"""The catalog: which models can be drawn with, where they are, and their defaults and limits; data, not code."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from models.errors import CatalogError
from models.samplers import SAMPLERS

HOUSE = "house"
HOUSE_FOLDER = Path(__file__).parent / "house" / "checkpoint"
SOURCES = ("folder", "repository", "file")


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a request gets where it leaves a choice open."""

    sampler: str = "Euler a"
    num_inference_steps: int = 20
    guidance_scale: float = 7.0
    width: int = 512
    height: int = 512
    negative_prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may ask for."""

    min_px: int = 64
    max_px: int = 1024
    max_steps: int = 150


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One entry of the catalog. Exactly one of ``folder``, ``repository`` and ``file`` says where the weights are."""

    name: str
    family: str
    """The pipeline's architecture; so far ``stable-diffusion``."""
    folder: Path | None = None
    """A diffusers folder, with its ``model_index.json``."""
    repository: str | None = None
    """A hub repository, loaded through the usual cache."""
    revision: str | None = None
    """The commit, tag or branch of ``repository``; pin a commit."""
    file: Path | None = None
    """A single ``.safetensors`` file."""
    dtype: str = "auto"
    """``float32``, ``float16``, ``bfloat16``; ``auto`` is float32 on a CPU and float16 on a GPU."""
    native_px: int | None = None
    """The side of the squares the model was trained on. Larger pictures are drawn at this area and then enlarged."""
    aliases: tuple[str, ...] = ()
    licence: str = ""
    defaults: Defaults = field(default_factory=Defaults)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if sum(getattr(self, source) is not None for source in SOURCES) != 1:
            raise CatalogError(f"model {self.name!r} needs exactly one of {', '.join(SOURCES)}")
        if self.defaults.sampler not in SAMPLERS:
            raise CatalogError(f"model {self.name!r}: unknown default sampler {self.defaults.sampler!r}")

    @property
    def source(self) -> str:
        """Where the weights are, in words."""
        if self.repository is not None:
            return f"{self.repository}@{self.revision or 'main'}"
        return str(self.folder or self.file)

    def problem(self) -> str | None:
        """Why the model certainly cannot be loaded, as far as a look at the disk tells; ``None`` if it may."""
        if self.folder is not None and not (self.folder / "model_index.json").is_file():
            return f"there is no diffusers pipeline in {self.folder} (no model_index.json)"
        if self.file is not None and not self.file.is_file():
            return f"there is no file {self.file}"
        return None

    def drawn_size(self, width: int, height: int) -> tuple[int, int]:
        """The size in pixels at which the model really draws a picture of ``width`` x ``height``."""
        if self.native_px is None or width * height <= self.native_px**2:
            return width, height
        shrink = (self.native_px**2 / (width * height)) ** 0.5
        return max(64, round(width * shrink / 8) * 8), max(64, round(height * shrink / 8) * 8)


def house_spec() -> ModelSpec:
    """The checkpoint that ships with Photogram."""
    return ModelSpec(
        name=HOUSE,
        family="stable-diffusion",
        folder=HOUSE_FOLDER,
        dtype="float32",
        native_px=128,
        licence="Apache-2.0",
        defaults=Defaults(sampler="DPM++ 2M", num_inference_steps=20, guidance_scale=3.0, width=128, height=128),
    )


class Catalog(Mapping[str, ModelSpec]):
    """The models by name, the default one, and the aliases. The built-in model is always there."""

    def __init__(self, models: Mapping[str, ModelSpec], default: str = HOUSE) -> None:
        self._models = {HOUSE: house_spec(), **models}
        if default not in self._models:
            raise CatalogError(f"the default model {default!r} is not in the catalog")
        self.default = default
        self._aliases: dict[str, str] = {}
        for model in self._models.values():
            for alias in model.aliases:
                if alias in self._models or self._aliases.setdefault(alias, model.name) != model.name:
                    raise CatalogError(f"the alias {alias!r} of {model.name!r} is taken")

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """Read ``catalog.toml``; a file that is not there is a catalog of the built-in model alone.

        Raises:
            CatalogError: the file is no TOML, or an entry in it makes no sense.
        """
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CatalogError(f"{path}: {error}") from error
        unknown = set(document) - {"default", "models"}
        if unknown:
            raise CatalogError(f"{path}: unknown key {sorted(unknown)[0]!r}")
        entries = document.get("models", {})
        if not isinstance(entries, dict):
            raise CatalogError(f"{path}: models must be a table")
        specs = {name: parse_spec(name, entry, path.parent) for name, entry in entries.items()}
        return cls(specs, str(document.get("default", HOUSE)))

    def resolve(self, name: str | None) -> ModelSpec | None:
        """The model of that name or alias, the default one for ``None``; ``None`` if nobody knows it."""
        if name is None:
            return self._models[self.default]
        return self._models.get(self._aliases.get(name, name))

    def __getitem__(self, name: str) -> ModelSpec:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def parse_spec(name: str, entry: Mapping[str, Any], relative_to: Path) -> ModelSpec:
    """One ``[models.name]`` table as a spec; paths in it are relative to the catalog's folder.

    Raises:
        CatalogError: naming the key that is missing, unknown or of the wrong type.
    """
    if not isinstance(entry, dict):
        raise CatalogError(f"model {name!r} must be a table")
    values = dict(entry)
    for key in ("folder", "file"):
        if isinstance(values.get(key), str):
            values[key] = relative_to / Path(values[key]).expanduser()
    if isinstance(values.get("aliases"), list):
        values["aliases"] = tuple(values["aliases"])
    for key, table in (("defaults", Defaults), ("limits", Limits)):
        if key in values:
            values[key] = _parse_table(f"{name}.{key}", table, values[key])
    parsed: ModelSpec = _parse_table(name, ModelSpec, {"family": "stable-diffusion", **values, "name": name})
    return parsed


_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "float": (int, float), "Path": (Path,), "tuple": (tuple,),
    "Defaults": (Defaults,), "Limits": (Limits,),
}  # fmt: skip


def _parse_table(name: str, table: Any, values: Mapping[str, Any]) -> Any:
    known = {each.name: str(each.type).split(" ")[0].split("[")[0] for each in fields(table)}
    for key, value in values.items():
        if key not in known:
            raise CatalogError(f"model {name!r}: unknown key {key!r}")
        if not isinstance(value, _PYTHON_TYPES[known[key]]) or isinstance(value, bool):
            raise CatalogError(f"model {name!r}: {key} must be of type {known[key]}")
    return table(**values)
