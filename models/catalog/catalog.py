"""The catalog of models: where their weights are, their defaults and their limits; data, not code."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels, discover, read_auxiliary_models, without_hash
from models.catalog.bounds import CLIP_SKIP_MAX, GUIDANCE_MAX, SIZE_MULTIPLE_PX
from models.catalog.families import ATTENTIONS, FAMILIES, STABLE_DIFFUSION
from models.catalog.file_kinds import DENOISER, VAE, kind_of
from models.catalog.gguf_files import GGUF, QUANTIZATIONS
from models.catalog.names import did_you_mean
from models.catalog.pipelines import INDEX
from models.catalog.samplers import SAMPLERS, find_sampler
from models.catalog.tables import read_table, subtables
from models.catalog.vision import VISION, VisionModels, read_vision_models
from models.catalog.weights import file_problem
from models.errors import CatalogError

HOUSE = "house"
HOUSE_FOLDER = Path(__file__).parents[1] / "house" / "checkpoint"
SOURCES = ("folder", "repository", "file")
PREDICTIONS = ("auto", "epsilon", "v_prediction")
DTYPES = ("auto", "float32", "float16", "bfloat16")
OFFLOADS = ("none", "model", "sequential")
WEIGHTS = ("auto", "fp8", *QUANTIZATIONS)
EXTRAS = ("loras", "embeddings", "controlnets", "upscalers", "preprocessors", "faces")
"""The tables of auxiliary models; files in a folder of the same name beside the catalog file are added to them."""
_SHORT_SIDE_PX = 64
"""The smallest width or height of an image that is generated at a smaller size because of ``native_px``."""
_MAX_PX, _MAX_STEPS = 8192, 1000


def _on_grid(size_px: float, grid_px: int) -> int:
    """The largest multiple of ``grid_px`` that is at most ``size_px``, with a tolerance for rounding errors."""
    return int(size_px / grid_px + 1e-6) * grid_px


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """The values of parameters that a request leaves out."""

    sampler: str = "Euler a"
    num_inference_steps: int = 20
    guidance_scale: float = 7.0
    width: int = 512
    height: int = 512
    negative_prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of a request, as far as they depend on the model."""

    min_px: int = 64
    max_px: int = 2048
    """The longest side in pixels: as much as the sliders of A1111 allow, and all sizes that SDXL was trained on."""
    max_steps: int = 150
    max_clip_skip: int = CLIP_SKIP_MAX


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One entry of the catalog. Exactly one of ``folder``, ``repository`` and ``file`` says where the weights are."""

    name: str
    family: str
    """The architecture of the pipeline, a key of :data:`models.catalog.families.FAMILIES`."""
    folder: Path | None = None
    """A diffusers folder, with its ``model_index.json``."""
    repository: str | None = None
    """A repository of the model hub, loaded through its usual cache."""
    revision: str | None = None
    """The commit, tag or branch of ``repository``; pin a commit."""
    file: Path | None = None
    """A single ``.safetensors`` file."""
    url: str | None = None
    """Where ``file`` can be downloaded from; ``None`` if it must be there."""
    sha256: str | None = None
    """The checksum of what ``url`` gives, in hexadecimal."""
    config: Path | None = None
    """A diffusers folder with the configurations and tokenizers for ``file``; ``None`` takes those of the published
    model of its architecture, or asks the hub."""
    prediction: str = "auto"
    """What the UNet of ``file`` predicts, one of ``PREDICTIONS``; ``auto`` follows its marks and architecture."""
    vae: Path | None = None
    """A ``.safetensors`` file with the VAE to use instead of the model's own."""
    denoiser: Path | None = None
    """A ``.gguf`` or ``.safetensors`` file with the UNet or transformer to use instead of the model's own."""
    dtype: str = "auto"
    """``float32``, ``float16`` or ``bfloat16``; ``auto`` is float32 on a CPU and the family's 16-bit type on a GPU."""
    offload: str = "none"
    """What is in a GPU's memory only while it is used, one of ``OFFLOADS``: nothing, whole parts (text encoders,
    denoiser, VAE), or single layers. It has no effect on a CPU."""
    weights: str = "auto"
    """How the denoiser's weights are stored, one of ``WEIGHTS``: in ``dtype``, or in fewer bits and computed in it."""
    attention: str = ATTENTIONS[0]
    """How the denoiser's attention is computed, one of those that its family has."""
    vae_tiling: bool = False
    """Whether the VAE works in overlapping tiles, which changes images a little; otherwise only if memory is short."""
    vae_slicing: bool = False
    """Whether the VAE decodes one image at a time."""
    native_px: int | None = None
    """The side of the squares that the model was trained on. Larger images are generated at this area and enlarged."""
    aliases: tuple[str, ...] = ()
    licence: str = ""
    defaults: Defaults = field(default_factory=Defaults)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        problem = next(chain(self._source_problems(), self._memory_problems(), self._value_problems()), None)
        if problem is not None:
            raise problem

    def _source_problems(self) -> Iterator[CatalogError]:
        """What is wrong with where the weights are."""
        if sum(getattr(self, source) is not None for source in SOURCES) != 1:
            yield CatalogError(f"model {self.name!r} needs exactly one of {', '.join(SOURCES)}")
        if self.config is not None and self.file is None:
            yield self._wrong("config", "is for models in a single file")
        if self.url is not None and self.file is None:
            yield self._wrong("url", "is for models in a single file")
        if self.sha256 is not None and self.url is None:
            yield self._wrong("sha256", "is for models with a url")
        if self.prediction not in PREDICTIONS:
            yield self._wrong("prediction", f"must be one of {', '.join(PREDICTIONS)}")
        if self.prediction != PREDICTIONS[0] and (self.file is None or self.config is not None):
            yield self._wrong("prediction", "is for models in a single file without config")

    def _memory_problems(self) -> Iterator[CatalogError]:
        """What is wrong with the settings of memory."""
        for key, values in (("dtype", DTYPES), ("offload", OFFLOADS), ("weights", WEIGHTS)):
            if getattr(self, key) not in values:
                yield self._wrong(key, f"must be one of {', '.join(values)}")
        if self.is_quantized and self.weights != WEIGHTS[0]:
            yield self._wrong("weights", f"must be {WEIGHTS[0]} with a denoiser in a {GGUF} file, which is quantised")

        attentions = FAMILIES[self.family].attentions if self.family in FAMILIES else ATTENTIONS
        if self.attention not in attentions:
            yield self._wrong("attention", f"must be one of {', '.join(attentions)} in the family {self.family}")

    def _value_problems(self) -> Iterator[CatalogError]:
        """What is wrong with defaults and limits."""
        sampler = self.defaults.sampler
        if sampler not in SAMPLERS:
            yield self._wrong("defaults.sampler", f"is no known sampler: {sampler!r}{did_you_mean(sampler, SAMPLERS)}")
        for key, value, low, high in self._bounds():
            if not low <= value <= high:
                yield self._wrong(key, f"must be from {low:g} to {high:g}")
        for key in ("width", "height"):
            if getattr(self.defaults, key) % SIZE_MULTIPLE_PX:
                yield self._wrong(f"defaults.{key}", f"must be a multiple of {SIZE_MULTIPLE_PX}")

    def _wrong(self, key: str, reason: str) -> CatalogError:
        return CatalogError(f"model {self.name!r}: {key} {reason}", key, reason)

    @property
    def is_quantized(self) -> bool:
        """Whether the denoiser's weights are quantised in their file."""
        return self.denoiser is not None and self.denoiser.suffix.lower() == GGUF

    def _bounds(self) -> Iterator[tuple[str, float, float, float]]:
        """Key, value, lowest and highest value of each number."""
        limits, defaults = self.limits, self.defaults
        yield "limits.min_px", limits.min_px, SIZE_MULTIPLE_PX, limits.max_px
        yield "limits.max_px", limits.max_px, limits.min_px, _MAX_PX
        yield "limits.max_steps", limits.max_steps, 1, _MAX_STEPS
        yield "limits.max_clip_skip", limits.max_clip_skip, 1, CLIP_SKIP_MAX
        yield "defaults.width", defaults.width, limits.min_px, limits.max_px
        yield "defaults.height", defaults.height, limits.min_px, limits.max_px
        yield "defaults.num_inference_steps", defaults.num_inference_steps, 1, limits.max_steps
        yield "defaults.guidance_scale", defaults.guidance_scale, 0, GUIDANCE_MAX
        yield "native_px", _SHORT_SIDE_PX if self.native_px is None else self.native_px, _SHORT_SIDE_PX, _MAX_PX

    @property
    def source(self) -> str:
        """The folder, file or repository of the weights, as text for people."""
        if self.repository is not None:
            return f"{self.repository}@{self.revision or 'main'}"
        return str(self.folder or self.file)

    def problem(self) -> str | None:
        """Why it cannot be loaded, as far as the disk shows without reading the weights; ``None`` if it may load."""
        for folder in (self.folder, self.config):
            if folder is not None and not (folder / INDEX).is_file():
                return f"there is no diffusers pipeline in {folder} (no {INDEX})"
        if self.file is not None and self.url is None and not self.file.is_file():
            return f"there is no file {self.file}"
        for key, file in (("VAE", self.vae), ("denoiser", self.denoiser)):
            if file is not None and not file.is_file():
                return f"there is no {key} {file}"
        return self.weights_problem()

    def weights_problem(self) -> str | None:
        """What is wrong with its single file, VAE or denoiser, without their paths; a missing file is no problem."""
        if self.file is not None and self.file.is_file() and (found := self._file_problem(self.file)) is not None:
            return found
        if self.vae is not None and self.vae.is_file() and (found := _vae_problem(self.vae)) is not None:
            return found
        is_there = self.denoiser is not None and self.denoiser.is_file()
        return _denoiser_problem(self.denoiser, self.family) if is_there and self.denoiser is not None else None

    def _file_problem(self, file: Path) -> str | None:
        kind = kind_of(file)
        needs_config = self.config is None and kind.family == self.family
        return file_problem(file) or (kind.configuration_problem if needs_config else None)

    @property
    def takes_negative_prompt(self) -> bool:
        """Whether a negative prompt has an effect."""
        facts = FAMILIES.get(self.family)
        return facts is not None and facts.takes_negative_prompt

    @property
    def grid_px(self) -> int:
        """Width and height of a generated image are multiples of this."""
        facts = FAMILIES.get(self.family)
        return SIZE_MULTIPLE_PX if facts is None else facts.size_multiple_px

    def rounded_side(self, side_px: int | None) -> int | None:
        """``side_px`` rounded down to the grid, and up to the smallest side; as it is if it is left open or below 1."""
        if side_px is None or side_px < 1:
            return side_px
        smallest_px = -(-self.limits.min_px // self.grid_px) * self.grid_px
        return max(side_px // self.grid_px * self.grid_px, smallest_px)

    def drawn_size(self, width: int, height: int) -> tuple[int, int]:
        """The size in pixels at which the model generates an image that is requested with ``width`` x ``height``.

        Its area is at most the native area. The aspect ratio is kept as far as two rules allow: both sides are
        multiples of :attr:`grid_px`, and the shorter side has at least 64 px.
        """
        if self.native_px is None or width * height <= self.native_px**2:
            return width, height
        stretch = (max(width, height) / min(width, height)) ** 0.5
        short_px = max(_SHORT_SIDE_PX, _on_grid(self.native_px / stretch, self.grid_px))
        long_px = _on_grid(min(self.native_px * stretch, self.native_px**2 / short_px), self.grid_px)
        return (long_px, short_px) if width >= height else (short_px, long_px)


def _vae_problem(file: Path) -> str | None:
    kind = kind_of(file)
    if kind.kind != VAE:
        return f"its VAE is no VAE: {kind.problem or f'the file is {kind}'}"
    return None if kind.problem is None else f"its VAE cannot be used: {kind.problem}"


def _denoiser_problem(file: Path, family: str) -> str | None:
    kind = kind_of(file)
    if kind.problem is not None:
        return f"its denoiser cannot be used: {kind.problem}"
    if kind.kind != DENOISER:
        return f"its denoiser is none: the file is {kind}"
    return None if kind.family == family else f"its denoiser is of another family: the file is {kind}"


def house_spec() -> ModelSpec:
    """The checkpoint that ships with Photogram."""
    return ModelSpec(
        name=HOUSE,
        family=STABLE_DIFFUSION,
        folder=HOUSE_FOLDER,
        dtype="float32",
        native_px=128,
        limits=Limits(max_clip_skip=1),
        licence="Apache-2.0",
        defaults=Defaults(sampler="DPM++ 2M", num_inference_steps=20, guidance_scale=3.0, width=128, height=128),
    )


class Catalog(Mapping[str, ModelSpec]):
    """The models by name, the default model and the aliases. The built-in model is always included.

    Args:
        models: the models by name.
        default: the name of the model for requests without one.
        extras: the auxiliary models of each table of :data:`EXTRAS`; a table that is left out is empty.
        aliases: alias to model name, in addition to the aliases in the models themselves.
        unknown: the model for unknown names in dialects whose clients have the model names of another server built in;
            ``None`` is the default model.
        vision: the models that see.

    Raises:
        CatalogError: a name that is not in the catalog, or an alias that is used twice.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSpec],
        default: str = HOUSE,
        extras: Mapping[str, Mapping[str, AuxiliaryModel]] = MappingProxyType({}),
        aliases: Mapping[str, str] = MappingProxyType({}),
        unknown: str | None = None,
        vision: VisionModels | None = None,
    ) -> None:
        self.vision = VisionModels() if vision is None else vision
        self._models = {HOUSE: house_spec(), **models}
        self._extras = {sort: AuxiliaryModels(extras.get(sort, {})) for sort in EXTRAS}
        if default not in self._models:
            hint = did_you_mean(default, self._models)
            raise CatalogError(f"the default model {default!r} is not in the catalog{hint}")
        self.default = default
        if unknown is not None and unknown not in self._models:
            raise CatalogError(f"the key 'unknown' names {unknown!r}, which is not in the catalog")
        self._unknown = default if unknown is None else unknown
        self._aliases: dict[str, str] = {}
        for alias, name in aliases.items():
            self._add_alias(alias, name)
        for model in self._models.values():
            for alias in model.aliases:
                self._add_alias(alias, model.name)
        for model in self._models.values():
            if model.file is not None:
                self._aliases.setdefault(model.file.name, model.name)

        named = (*((name, name) for name in self._models), *self._aliases.items())
        self._in_any_case = {known_as.casefold(): name for known_as, name in reversed(named)}

    def _add_alias(self, alias: str, name: str) -> None:
        if name not in self._models:
            raise CatalogError(f"the alias {alias!r} means {name!r}, which is not in the catalog")
        if alias in self._models or self._aliases.setdefault(alias, name) != name:
            raise CatalogError(f"the alias {alias!r} of {name!r} is already the name or an alias of a model")

    @property
    def loras(self) -> AuxiliaryModels:
        """LoRAs."""
        return self._extras["loras"]

    @property
    def embeddings(self) -> AuxiliaryModels:
        """Textual-inversion embeddings."""
        return self._extras["embeddings"]

    @property
    def controlnets(self) -> AuxiliaryModels:
        """ControlNets."""
        return self._extras["controlnets"]

    @property
    def upscalers(self) -> AuxiliaryModels:
        """Upscalers that need weights."""
        return self._extras["upscalers"]

    @property
    def preprocessors(self) -> AuxiliaryModels:
        """The weights of preprocessors that need some."""
        return self._extras["preprocessors"]

    @property
    def faces(self) -> AuxiliaryModels:
        """``detector`` and ``restorer``, which face restoration needs."""
        return self._extras["faces"]

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """Read ``catalog.toml``; if the file does not exist, the catalog has only the built-in model.

        Raises:
            CatalogError: the file is not TOML, or an entry in it is invalid.
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
        foreign = set(document) - {"default", "unknown", "aliases", "models", VISION, *EXTRAS}
        if foreign:
            raise CatalogError(f"{path}: unknown key {sorted(foreign)[0]!r}")
        entries = subtables("models", document.get("models", {}))
        specs = {name: _read_spec(name, entry, path.parent) for name, entry in entries.items()}
        default, unknown = document.get("default", HOUSE), document.get("unknown")
        for key, name in (("default", default), ("unknown", unknown)):
            if not isinstance(name, str | None):
                raise CatalogError(f"{path}: {key} must be the name of a model")
        extras = {
            sort: {**discover(path.parent / sort), **read_auxiliary_models(sort, document.get(sort, {}), path.parent)}
            for sort in EXTRAS
        }
        vision = read_vision_models(document.get(VISION, {}), path.parent)
        return cls(specs, default, extras, _read_aliases(document.get("aliases", {})), unknown, vision)

    def resolve(self, name: str | None) -> ModelSpec | None:
        """The model with this name, alias or file name, which may be followed by ``[hash]``; ``None`` if unknown.

        Case is ignored where no name is the same in its case too.

        Without a name, this is the default model.
        """
        if name is None:
            return self._models[self.default]
        for known_as in (name, without_hash(name)):
            found = self._models.get(self._aliases.get(known_as, known_as))
            if found is not None:
                return found
        return self._models.get(self._in_any_case.get(without_hash(name).strip().casefold(), ""))

    def resolve_any(self, name: str | None) -> ModelSpec:
        """As :meth:`resolve`, but with the model ``unknown`` for a name that is not in the catalog."""
        return self.resolve(name) or self._models[self._unknown]

    def __getitem__(self, name: str) -> ModelSpec:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def _read_aliases(table: Any) -> Mapping[str, str]:
    """The ``[aliases]`` table: alias to model name."""
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise CatalogError('aliases must be a table of model names, such as "v1-5-pruned-emaonly.safetensors" = "sd15"')
    return table


def _read_spec(name: str, entry: Mapping[str, Any], relative_to: Path) -> ModelSpec:
    """One ``[models.name]`` table; defaults that it leaves out are those of its family."""
    table = {"family": STABLE_DIFFUSION, **entry, "name": name}
    facts = FAMILIES.get(table["family"]) if isinstance(table["family"], str) else None
    if facts is not None and isinstance(table.setdefault("defaults", {}), dict):
        table["defaults"] = {**facts.defaults, **table["defaults"]}
        sampler = table["defaults"].get("sampler")
        if isinstance(sampler, str):
            table["defaults"]["sampler"] = find_sampler(sampler) or sampler
    return read_table(f"models.{name}", ModelSpec, table, relative_to)
