"""What ``deploy.json`` says about a diffusion model: its defaults, its latents and its tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from photogram_runtime.components import section
from photogram_runtime.errors import PackageDamaged
from photogram_runtime.package import MANIFEST, Package

DRAWING = "drawing"
"""The section of ``deploy.json``."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The section :data:`DRAWING`."""

    scheduler: Mapping[str, Any]
    """The checkpoint's ``scheduler_config.json``."""
    sampler: str
    """The model's default, as the following five are."""
    steps: int
    guidance_scale: float
    width: int
    height: int
    negative_prompt: str
    size_multiple: int
    """Width and height are multiples of so many pixels."""
    latent_channels: int
    scale_factor: int
    """The side of one latent in pixels."""
    scaling_factor: float
    """The latents are divided by it before they are decoded."""
    shift_factor: float
    """Added to the divided latents."""
    tokenizer: str
    """A file of the package, of the ``tokenizers`` library."""
    tokens: int
    """Of one chunk, with those of its start and its end."""
    pad_id: int
    start_id: int
    end_id: int
    uses_mask: bool
    """Whether the text encoder is told which tokens are padding."""


_TYPES: Mapping[str, Any] = MappingProxyType({
    "scheduler": dict, "sampler": str, "steps": int, "guidance_scale": (int, float), "width": int, "height": int,
    "negative_prompt": str, "size_multiple": int, "latent_channels": int, "scale_factor": int,
    "scaling_factor": (int, float), "shift_factor": (int, float), "tokenizer": str, "tokens": int, "pad_id": int,
    "start_id": int, "end_id": int, "uses_mask": bool,
})  # fmt: skip


def read_settings(package: Package) -> Settings:
    """The settings of ``package``.

    Raises:
        PackageUnsupported: the package was made without them.
        PackageDamaged: they are not what a package has.
    """
    written = section(package.manifest, DRAWING)
    for name, types in _TYPES.items():
        value = written.get(name)
        if not isinstance(value, types) or isinstance(value, bool) != (types is bool):
            raise PackageDamaged(f"{MANIFEST} is not that of a package: its field {DRAWING}.{name} is wrong")
    settings = Settings(**{name: written[name] for name in _TYPES})
    if not _is_possible(settings) or settings.tokenizer not in package.manifest["files"]:
        raise PackageDamaged(f"{MANIFEST} is not that of a package: its section {DRAWING} has impossible values")
    return settings


def _is_possible(settings: Settings) -> bool:
    counts = (settings.size_multiple, settings.latent_channels, settings.scale_factor, settings.tokens - 1)
    factors = (settings.scaling_factor, settings.shift_factor, settings.guidance_scale)
    return min(counts) > 0 and all(map(math.isfinite, factors)) and settings.scaling_factor != 0
