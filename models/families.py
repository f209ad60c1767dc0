"""The families of pipelines that can be drawn with, and the module that knows each; listed without importing any."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

STABLE_DIFFUSION = "stable-diffusion"
SDXL = "sdxl"

FAMILIES: Mapping[str, str] = MappingProxyType({
    STABLE_DIFFUSION: "models.diffusion.families.stable_diffusion",
    SDXL: "models.diffusion.families.sdxl",
})  # fmt: skip
"""Module paths by the name that the catalog uses."""
