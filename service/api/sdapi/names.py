"""What A1111's clients call models, modules and modes, and what those names mean here."""

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
    """Ten hexadecimal digits that stand for the catalog's entry: its name and source, not what is in its files."""
    return hashlib.sha256(f"{spec.name}\n{spec.source}".encode()).hexdigest()[:_HASH_CHARS]


def model_file(spec: ModelSpec) -> str:
    """The model as the file that A1111 believes it to be."""
    return f"{spec.name}.safetensors"


def model_title(spec: ModelSpec) -> str:
    """As ``name.safetensors [0123456789]``, by which clients choose a model."""
    return f"{model_file(spec)} [{model_hash(spec)}]"


def controlnet_title(extra: AuxiliaryModel) -> str:
    """As ``name [01234567]``."""
    return f"{extra.name} [{hashlib.sha256(extra.name.encode()).hexdigest()[:8]}]"


def find_model(name: str, catalog: Catalog) -> ModelSpec | None:
    """The model of that title, file name, name, alias or hash; ``None`` if nobody knows it."""
    bare = without_hash(name.strip())
    stem = next((bare.removesuffix(suffix) for suffix in _SUFFIXES if bare.endswith(suffix)), bare)
    found = (catalog.resolve(each) for each in (name, bare, stem))
    by_name = next((spec for spec in found if spec is not None), None)
    return by_name or next((spec for spec in catalog.values() if model_hash(spec) == bare), None)


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
"""What the extension's window calls its preprocessors, and what it calls them inside, as Prodia does."""


def find_module(name: str) -> str:
    """The preprocessor's own name; one that nobody knows stays as it is."""
    plain = name.strip().lower()
    return next((each for each in (plain, _MODULES.get(plain, "")) if each in PREPROCESSORS), name)


RESIZE_WORDS: Mapping[str, str] = MappingProxyType({
    "just resize": "stretch",
    "crop and resize": "crop",
    "scale to fit (inner fit)": "crop",
    "inner fit (scale to fit)": "crop",
    "resize and fill": "fill",
    "envelope (outer fit)": "fill",
    "outer fit (shrink to fit)": "fill",
})  # fmt: skip
MODE_WORDS: Mapping[str, str] = MappingProxyType({
    "balanced": "balanced",
    "my prompt is more important": "prompt",
    "controlnet is more important": "control",
})  # fmt: skip


def find_resize_mode(value: int | str) -> str | None:
    """What a ControlNet's resize mode means, in words or by its number."""
    return _of_words(value, RESIZE_WORDS, RESIZE_MODES)


def find_control_mode(value: int | str) -> str | None:
    """What a ControlNet's control mode means, in words or by its number."""
    return _of_words(value, MODE_WORDS, CONTROL_MODES)


def _of_words(value: int | str, words: Mapping[str, str], numbered: tuple[str, ...]) -> str | None:
    if isinstance(value, str):
        return words.get(value.strip().lower())
    return numbered[value] if 0 <= value < len(numbered) else None
