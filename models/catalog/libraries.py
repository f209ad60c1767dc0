"""Packages that only some settings of models need, and whether they are installed on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from models.catalog.gguf_files import GGUF, QUANTIZATIONS

if TYPE_CHECKING:
    from models.catalog.catalog import ModelSpec

PACKAGES_OF_ATTENTION: Mapping[str, tuple[str, str]] = {
    "flash": ("flash_attn", "flash-attn"),
    "sage": ("sageattention", "sageattention"),
    "xformers": ("xformers", "xformers"),
}
"""The module and the package of each value of ``attention`` that needs one."""


def missing_package(spec: ModelSpec) -> str | None:
    """Why the settings of ``spec`` cannot be used on this machine, and what to install; ``None`` if they can."""
    needs_gguf = spec.is_quantized or spec.weights in QUANTIZATIONS
    if needs_gguf and find_spec("gguf") is None:
        setting = f"a denoiser in a {GGUF} file" if spec.is_quantized else f'weights = "{spec.weights}"'
        return f'{setting} needs the package gguf, which is not installed: pip install "photogram-server[gguf]"'
    module, package = PACKAGES_OF_ATTENTION.get(spec.attention, (None, ""))
    if module is not None and find_spec(module) is None:
        setting = f'attention = "{spec.attention}"'
        return f"{setting} needs the package {package}, which is not installed: pip install {package}"
    return None
