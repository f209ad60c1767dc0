"""The names in the profile of a package, and its figure of speed; torch is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TORCH, BUILT_IN, DEPLOYED = "torch", "built-in", "deployed"
"""What is measured: torch alone, what the server uses without a package, and the package."""


def speed(profile: Mapping[str, Any], subject: str) -> float:
    """The images per second of ``subject`` with the most images together; 0 if it was not measured."""
    found: Mapping[str, float] = profile.get(subject, {}).get("images_per_s", {})
    return float(found[max(found, key=int)]) if found else 0.0


def was_slower(profile: Mapping[str, Any]) -> bool:
    """Whether the package was slower than what runs without it: what is built in, or torch where nothing is."""
    return speed(profile, DEPLOYED) < speed(profile, BUILT_IN if BUILT_IN in profile else TORCH)
