"""The vision models of the catalog: timm's models that classify, embed and compare images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from models.catalog.tables import read_table, subtables
from models.catalog.timm_models import timm_weights
from models.catalog.weights import SAFETENSORS, file_problem
from models.errors import CatalogError, Problem, ProblemCode

VISION = "vision"
"""The table of the catalog."""
EYES = "photogram-eyes"
EYES_FOLDER = Path(__file__).parents[1] / "eyes" / "checkpoint"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
"""The files of a folder or repository in timm's layout."""
PROJECTION = "projection.safetensors"
"""A further file of a folder, if its model also reads texts: the matrices ``image`` [width, features] and ``text``
[width, 384] project pooled images and texts into one space. Texts are read by the text encoder of ``models/house``."""
CLASSES_MAX = 100_000
LABELS_MAX_BYTES = 1 << 22
_NEW_NAME = re.compile(r"[^\W_][\w.-]{0,99}")
_SOURCES = ("folder", "repository", "file")


@dataclass(frozen=True, kw_only=True)
class VisionSpec:
    """One entry of the table. Exactly one of ``folder``, ``repository`` and ``file`` says where the weights are."""

    name: str
    folder: Path | None = None
    """A folder in timm's layout: ``config.json`` and ``model.safetensors``."""
    repository: str | None = None
    """A repository of the model hub in timm's layout."""
    revision: str | None = None
    """The commit, tag or branch of ``repository``; pin a commit."""
    file: Path | None = None
    """A ``.safetensors`` file with the weights of ``architecture``."""
    architecture: str | None = None
    """For ``file``: timm's name of the model, whose preprocessing it also is, as in ``resnet18.a1_in1k``."""
    classes: int | None = None
    """For ``file``: how many classes its classifier has, if not as many as timm's own."""
    labels: Path | None = None
    """A text file with the label of each class, one a line; ``None`` takes those that come with the model."""
    aliases: tuple[str, ...] = ()
    licence: str = ""
    trained_by_job: bool = False
    """Whether a job made it: it is never the model of requests without one, which are those of other API keys too."""

    def __post_init__(self) -> None:
        problem = next(self._problems(), None)
        if problem is not None:
            raise CatalogError(f"vision model {self.name!r}: {problem}")

    def _problems(self) -> Iterator[str]:
        if sum(getattr(self, source) is not None for source in _SOURCES) != 1:
            yield f"needs exactly one of {', '.join(_SOURCES)}"
        if (self.file is None) != (self.architecture is None):
            yield "architecture goes with file, and file needs it"
        if self.architecture is not None and timm_weights(self.architecture) is None:
            yield f"timm has no model {self.architecture!r}"
        if self.classes is not None and self.file is None:
            yield "classes goes with file"
        if self.classes is not None and not 1 <= self.classes <= CLASSES_MAX:
            yield f"classes must be from 1 to {CLASSES_MAX}"
        if self.revision is not None and self.repository is None:
            yield "revision goes with repository"

    @property
    def source(self) -> str:
        """The folder, file or repository of the weights, as text for people."""
        if self.repository is not None:
            return f"{self.repository}@{self.revision or 'main'}"
        return str(self.folder or self.file)

    @property
    def projection(self) -> Path | None:
        """The file that projects images and texts into one space; ``None`` if the model reads no texts."""
        file = None if self.folder is None else self.folder / PROJECTION
        return file if file is not None and file.is_file() else None

    @property
    def weights(self) -> Path | None:
        """The file of the weights; ``None`` if they are in a repository."""
        return self.folder / WEIGHTS if self.folder is not None else self.file

    def problem(self) -> str | None:
        """Why it cannot be loaded, as far as the disk shows without reading the weights; without paths."""
        if self.labels is not None and not self.labels.is_file():
            return "its file of labels is missing"
        if self.repository is not None:
            return None
        if self.folder is not None and not (self.folder / CONFIG).is_file():
            return f"its folder has no {CONFIG}"
        weights = self.weights
        assert weights is not None
        if weights.suffix != SAFETENSORS:
            return f"its file is no {SAFETENSORS} file"
        return file_problem(weights) if weights.is_file() else "its file of weights is missing"


def eyes_spec() -> VisionSpec:
    """The vision model that ships with Photogram."""
    return VisionSpec(name=EYES, folder=EYES_FOLDER, licence="Apache-2.0")


class VisionModels(Mapping[str, VisionSpec]):
    """The vision models by name, in the order of the catalog.

    The first one that no job has trained is that of requests without a model. The built-in model is always included, as
    the last one.

    Raises:
        CatalogError: an alias is the name or an alias of another model.
    """

    def __init__(self, models: Mapping[str, VisionSpec] = MappingProxyType({})) -> None:
        self._models = {**models}
        self._models.setdefault(EYES, eyes_spec())
        self._names: dict[str, str] = {name.casefold(): name for name in self._models}
        for model in self._models.values():
            for alias in model.aliases:
                if self._names.setdefault(alias.casefold(), model.name) != model.name:
                    raise CatalogError(f"the alias {alias!r} of {model.name!r} is that of another vision model")

    def resolve(self, name: str | None) -> VisionSpec | None:
        """The model with this name or alias in any case, that of requests without a model if there is no name;
        ``None`` if it is unknown."""
        if name is None:
            return next(model for model in self._models.values() if not model.trained_by_job)
        known = self._names.get(name.casefold())
        return None if known is None else self._models[known]

    def __getitem__(self, name: str) -> VisionSpec:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def read_vision_models(entries: Any, relative_to: Path) -> VisionModels:
    """Read the table ``vision`` of the catalog; relative paths start from ``relative_to``.

    Raises:
        CatalogError: a key is missing, unknown or of the wrong type; the message names it.
    """
    return VisionModels({
        name: read_table(f"{VISION}.{name}", VisionSpec, {**entry, "name": name}, relative_to)
        for name, entry in subtables(VISION, entries).items()
    })  # fmt: skip


class _Named(Protocol):
    def resolve(self, name: str | None) -> object | None: ...


def new_name_problem(name: str, models: VisionModels, drawing: _Named) -> Problem | None:
    """Why a new vision model cannot be called ``name``; the name of another vision model has the code ``CONFLICT``.

    Args:
        drawing: the models that draw: a key that may use one of them must not get a vision model by its name.
    """
    if not _NEW_NAME.fullmatch(name):
        message = f"{name!r} must be letters, digits, dots, dashes and underscores, at most 100"
        return Problem(message, ProblemCode.MALFORMED)
    if drawing.resolve(name) is not None:
        return Problem(f"there is a model {name!r} already, which draws", ProblemCode.NOT_ALLOWED)
    found = models.resolve(name)
    if found is None:
        return None
    if found.name == EYES:
        return Problem(f"the vision model {EYES!r} is built in", ProblemCode.NOT_ALLOWED)
    if found.name != name:
        return Problem(f"{name!r} is another name of the vision model {found.name!r}", ProblemCode.NOT_ALLOWED)
    return Problem(f"there is a vision model {name!r} already", ProblemCode.CONFLICT)


def vision_problem(spec: VisionSpec) -> Problem | None:
    """Why ``spec`` cannot be used, as far as the disk shows."""
    found = spec.problem()
    message = f"the vision model {spec.name!r} cannot be used: {found}"
    return None if found is None else Problem(message, ProblemCode.UNAVAILABLE)


def architecture_in(folder: Path) -> str | None:
    """The architecture that ``config.json`` of a folder in timm's layout names; ``None`` if it is no such folder."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    found = config.get("architecture") if isinstance(config, dict) else None
    return found if isinstance(found, str) and timm_weights(found) is not None else None
