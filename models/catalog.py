"""The catalog: which models can be drawn with, where they are, and their defaults and limits; data, not code."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from models.errors import CatalogError
from models.families import STABLE_DIFFUSION
from models.params import GUIDANCE_MAX, SIZE_MULTIPLE_PX
from models.samplers import SAMPLERS

HOUSE = "house"
HOUSE_FOLDER = Path(__file__).parent / "house" / "checkpoint"
SOURCES = ("folder", "repository", "file")
_SHORT_SIDE_PX = 64
"""Nothing is drawn smaller than this for the sake of ``native_px``."""
_MAX_PX, _MAX_STEPS = 8192, 1000


def _on_grid(size_px: float) -> int:
    """The largest multiple of 8 that is not above ``size_px``, but for what floating point loses."""
    return int(size_px / SIZE_MULTIPLE_PX + 1e-6) * SIZE_MULTIPLE_PX


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
    """The pipeline's architecture, one of ``models.families``."""
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
        for key, value, low, high in self._bounds():
            if not low <= value <= high:
                raise CatalogError(f"model {self.name!r}: {key} must be from {low:g} to {high:g}")
        for key in ("width", "height"):
            if getattr(self.defaults, key) % SIZE_MULTIPLE_PX:
                raise CatalogError(f"model {self.name!r}: defaults.{key} must be a multiple of {SIZE_MULTIPLE_PX}")

    def _bounds(self) -> Iterator[tuple[str, float, float, float]]:
        """Key, value, lowest and highest value of each number."""
        limits, defaults = self.limits, self.defaults
        yield "limits.min_px", limits.min_px, SIZE_MULTIPLE_PX, limits.max_px
        yield "limits.max_px", limits.max_px, limits.min_px, _MAX_PX
        yield "limits.max_steps", limits.max_steps, 1, _MAX_STEPS
        yield "defaults.width", defaults.width, limits.min_px, limits.max_px
        yield "defaults.height", defaults.height, limits.min_px, limits.max_px
        yield "defaults.num_inference_steps", defaults.num_inference_steps, 1, limits.max_steps
        yield "defaults.guidance_scale", defaults.guidance_scale, 0, GUIDANCE_MAX
        yield "native_px", _SHORT_SIDE_PX if self.native_px is None else self.native_px, _SHORT_SIDE_PX, _MAX_PX

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
        """The size in pixels at which the model really draws a picture of ``width`` x ``height``.

        Never more than the native area. The aspect ratio is kept as far as multiples of 8, and at least 64 px for the
        shorter side, allow.
        """
        if self.native_px is None or width * height <= self.native_px**2:
            return width, height
        short_px = max(_SHORT_SIDE_PX, _on_grid(self.native_px * (min(width, height) / max(width, height)) ** 0.5))
        long_px = _on_grid(min(self.native_px * (max(width, height) / min(width, height)) ** 0.5,
                               self.native_px**2 / short_px))  # fmt: skip
        return (long_px, short_px) if width >= height else (short_px, long_px)


def house_spec() -> ModelSpec:
    """The checkpoint that ships with Photogram."""
    return ModelSpec(
        name=HOUSE,
        family=STABLE_DIFFUSION,
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
            text = path.read_text(encoding="utf-8") if path.exists() else ""
        except UnicodeDecodeError as error:
            raise CatalogError(f"{path}: {error}") from error
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, path: Path) -> Catalog:
        """Read ``text`` as the contents of ``path``; raises :class:`CatalogError` as :meth:`load` does."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise CatalogError(f"{path}: {error}") from error
        unknown = set(document) - {"default", "models"}
        if unknown:
            raise CatalogError(f"{path}: unknown key {sorted(unknown)[0]!r}")
        entries = document.get("models", {})
        if not isinstance(entries, dict):
            raise CatalogError(f"{path}: models must be a table")
        specs = {name: parse_spec(name, entry, path.parent) for name, entry in entries.items()}
        default = document.get("default", HOUSE)
        if not isinstance(default, str):
            raise CatalogError(f"{path}: default must be the name of a model")
        return cls(specs, default)

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
    if not name:
        raise CatalogError("a model needs a name")
    if not isinstance(entry, dict):
        raise CatalogError(f"model {name!r} must be a table")
    values = dict(entry)
    for key in ("folder", "file"):
        if isinstance(values.get(key), str):
            values[key] = relative_to / _expanded(name, key, values[key])
    if isinstance(values.get("aliases"), list):
        values["aliases"] = _names(name, "aliases", values["aliases"])
    for key, table in (("defaults", Defaults), ("limits", Limits)):
        if key in values:
            values[key] = _parse_table(f"{name}.{key}", table, values[key])
    parsed: ModelSpec = _parse_table(name, ModelSpec, {"family": STABLE_DIFFUSION, **values, "name": name})
    return parsed


def _names(name: str, key: str, values: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, str) and value for value in values):
        raise CatalogError(f"model {name!r}: {key} must be names")
    return tuple(values)


def _expanded(name: str, key: str, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise CatalogError(f"model {name!r}: {key}: {error}") from error


_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "float": (int, float), "Path": (Path,), "tuple": (tuple,),
    "Defaults": (Defaults,), "Limits": (Limits,),
}  # fmt: skip


def _parse_table(name: str, table: Any, values: Mapping[str, Any]) -> Any:
    if not isinstance(values, dict):
        raise CatalogError(f"{name} must be a table")
    known = {each.name: str(each.type).split(" ")[0].split("[")[0] for each in fields(table)}
    for key, value in values.items():
        if key not in known:
            raise CatalogError(f"model {name!r}: unknown key {key!r}")
        if not isinstance(value, _PYTHON_TYPES[known[key]]) or isinstance(value, bool):
            raise CatalogError(f"model {name!r}: {key} must be of type {known[key]}")
    return table(**values)
