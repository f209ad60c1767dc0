"""A1111's names of models, preprocessors and modes, and what they stand for in requests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from models.catalog.auxiliary import AuxiliaryModel, without_hash
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.preprocessors import PREPROCESSORS
from models.jobs.params import CONTROL_MODES, RESIZE_MODES

_HASH_CHARS = 10
_SUFFIXES = (".safetensors", ".ckpt")


def model_hash(spec: ModelSpec) -> str:
    """Ten hexadecimal digits that identify the catalog's entry: a hash of its name and source, not of its files."""
    return hashlib.sha256(f"{spec.name}\n{spec.source}".encode()).hexdigest()[:_HASH_CHARS]


def model_file(spec: ModelSpec) -> str:
    """A file name for the model, because A1111's clients expect models to be files."""
    return f"{spec.name}.safetensors"


def model_title(spec: ModelSpec) -> str:
    """``name.safetensors [0123456789]``, the title by which clients choose a model."""
    return f"{model_file(spec)} [{model_hash(spec)}]"


def controlnet_title(extra: AuxiliaryModel) -> str:
    """``name [01234567]``, the title by which clients choose a ControlNet."""
    return f"{extra.name} [{hashlib.sha256(extra.name.encode()).hexdigest()[:8]}]"


def find_model(name: str, catalog: Catalog) -> ModelSpec | None:
    """The model of that title, file name, name, alias or hash, in any case; ``None`` if there is none."""
    bare = without_hash(name.strip())
    stem = next((bare[: -len(suffix)] for suffix in _SUFFIXES if bare.lower().endswith(suffix)), bare)
    found = (catalog.resolve(each) for each in (name, bare, stem))
    by_name = next((spec for spec in found if spec is not None), None)
    return by_name or next((spec for spec in catalog.values() if model_hash(spec) == bare.lower()), None)


_MODULES: Mapping[str, str] = MappingProxyType({
    "depth_midas": "depth",
    "lineart_realistic": "lineart",
    "normal_midas": "normal_map",
    "seg_ofade20k": "oneformer_ade20k",
    "seg_ofcoco": "oneformer_coco",
    "seg_ufade20k": "segmentation",
    "scribble_pidinet": "pidinet_scribble",
    "softedge_hed": "hed",
    "softedge_hedsafe": "hed_safe",
    "softedge_pidinet": "pidinet",
    "softedge_pidisafe": "pidinet_safe",
    "t2ia_color_grid": "color",
    "t2ia_sketch_pidi": "pidinet_sketch",
    "t2ia_style_clipvision": "clip_vision",
    "invert (from white bg & black line)": "invert",
    "lineart_standard (from white bg & black line)": "lineart_standard",
})  # fmt: skip
"""The preprocessors by the names in the extension's user interface, where these differ from the internal names."""


def find_module(name: str) -> str:
    """The catalog's name of the preprocessor; an unknown name is returned unchanged."""
    plain = name.strip().lower()
    return next((each for each in (plain, _MODULES.get(plain, "")) if each in PREPROCESSORS), name)


RESIZE_NAMES: Mapping[str, str] = MappingProxyType({
    "just resize": "stretch",
    "crop and resize": "crop",
    "scale to fit (inner fit)": "crop",
    "inner fit (scale to fit)": "crop",
    "resize and fill": "fill",
    "envelope (outer fit)": "fill",
    "outer fit (shrink to fit)": "fill",
})  # fmt: skip
MODE_NAMES: Mapping[str, str] = MappingProxyType({
    "balanced": "balanced",
    "my prompt is more important": "prompt",
    "controlnet is more important": "control",
})  # fmt: skip


def find_resize_mode(value: int | str) -> str | None:
    """The resize mode of A1111's name or number; ``None`` if there is none."""
    return _find_mode(value, RESIZE_NAMES, RESIZE_MODES)


def find_control_mode(value: int | str) -> str | None:
    """The control mode of A1111's name or number; ``None`` if there is none."""
    return _find_mode(value, MODE_NAMES, CONTROL_MODES)


def _find_mode(value: int | str, names: Mapping[str, str], numbered: tuple[str, ...]) -> str | None:
    if isinstance(value, str):
        return names.get(value.strip().lower())
    return numbered[value] if 0 <= value < len(numbered) else None
