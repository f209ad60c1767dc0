"""Which flags of ``photogram models add`` apply to which sources: one that cannot apply is an error that says why."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from models.catalog.file_kinds import CHECKPOINT, DENOISER, VAE, FileKind
from models.catalog.weights import SAFETENSORS
from models.errors import CatalogError

_URL, _REPOSITORY, _FOLDER, _FILE = "a URL", "a hub repository", "a diffusers folder", "a file"
_DENOISER, _VAE, _AUXILIARY = "a UNet or transformer alone", "a VAE", "an auxiliary model"
_TIMM, _VISION_FOLDER, _VISION_FILE = "weights of timm", "a vision model in a folder", "a vision model in a file"
_CHECKPOINTS = frozenset({_URL, _REPOSITORY, _FOLDER, _FILE, _DENOISER})
_VISION = frozenset({_TIMM, _VISION_FOLDER, _VISION_FILE})
_SINGLE = ("checkpoints in a single file", frozenset({_URL, _FILE}))
_OF_CHECKPOINTS = ("checkpoints", _CHECKPOINTS)
_OF_ENTRIES = ("models with an entry of their own", _CHECKPOINTS | _VISION | {_AUXILIARY})

_APPLY: Mapping[str, tuple[str, frozenset[str]]] = MappingProxyType({
    "revision": ("hub repositories", frozenset({_REPOSITORY, _TIMM})),
    "sha256": ("URLs", frozenset({_URL})),
    "no_download": ("what is downloaded", frozenset({_URL, _REPOSITORY, _TIMM})),
    "config": _SINGLE,
    "prediction": _SINGLE,
    "parts": ("files with a UNet or transformer alone", frozenset({_DENOISER})),
    "to": ("VAEs", frozenset({_VAE})),
    "architecture": ("vision models in a file", frozenset({_VISION_FILE})),
    "classes": ("vision models in a file", frozenset({_VISION_FILE})),
    "labels": ("vision models", _VISION),
    "family": ("checkpoints and auxiliary models", _CHECKPOINTS | {_AUXILIARY}),
    **dict.fromkeys(
        ("vae", "dtype", "offload", "weights", "attention", "steps", "guidance", "sampler", "size", "default"),
        _OF_CHECKPOINTS,
    ),
    **dict.fromkeys(("name", "alias", "licence", "overwrite"), _OF_ENTRIES),
})  # fmt: skip
"""What each flag is for, in words, and the sources that it applies to."""


def refuse_unfit_flags(options: argparse.Namespace, kind: FileKind | None, *, is_vision: bool) -> None:
    """Raise :class:`CatalogError` for the first flag that was given and does not apply to the source.

    Args:
        kind: what the source is, if it is a file.
        is_vision: whether it is a vision model.
    """
    sources = _vision_sources(options) if is_vision else _sources(options, kind)
    given = (name for name in _APPLY if _is_given(getattr(options, name)))
    unfit = next((name for name in given if not sources & _APPLY[name][1]), None)
    if sources and unfit is not None:
        what = " with ".join(sorted(sources)) if kind is None or is_vision else str(kind)
        raise CatalogError(f"--{unfit.replace('_', '-')} is for {_APPLY[unfit][0]}, and {options.source} is {what}")


def _is_given(value: object) -> bool:
    return value is not None and value is not False and value != []


def _vision_sources(options: argparse.Namespace) -> set[str]:
    if Path(options.source).expanduser().is_dir():
        return {_VISION_FOLDER}
    return {_TIMM if options.architecture is None else _VISION_FILE}


def _sources(options: argparse.Namespace, kind: FileKind | None) -> set[str]:
    """What the source is; with ``--parts``, also what these are, whose flags apply as well. Empty if it is nothing."""
    if kind is None:
        return _place(options.source)
    if kind.kind == DENOISER:
        return {_DENOISER, *(_place(options.parts) if options.parts is not None else ())}
    return {{CHECKPOINT: _FILE, VAE: _VAE}.get(kind.kind, _AUXILIARY)}


def _place(source: str) -> set[str]:
    path = Path(source).expanduser()
    if "://" in source:
        return {_URL}
    if path.is_dir():
        return {_FOLDER}
    if path.suffix.lower() == SAFETENSORS:
        return {_FILE}
    return {_REPOSITORY} if is_repository(source) else set()


def is_repository(source: str) -> bool:
    """Whether ``source`` is written as a repository of the model hub, ``owner/name``."""
    return source.count("/") == 1 and not source.startswith((".", "/", "~"))
