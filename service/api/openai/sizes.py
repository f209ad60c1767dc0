"""The sizes that clients of image APIs write: ``512x768``, ``512 × 768``, ``16:9``, ``1K`` and ``auto``."""

from __future__ import annotations

import math
import re

from models.catalog.catalog import ModelSpec
from service.api.openai.errors import OpenAiError

Size = tuple[int, int]

_AUTO = ("", "auto", "default")
_SIDES = re.compile(r"(\d{1,5})(?:px)?\s*[xX×*]\s*(\d{1,5})(?:px)?")
_RATIO = re.compile(r"(\d{1,3})\s*:\s*(\d{1,3})")
_KILO = re.compile(r"([1-8])\s*[kK]")
_KILO_PX = 1024
_FORMS = "must be auto, WIDTHxHEIGHT such as 512x768, a ratio such as 16:9, or 1K"


def read_size(text: str | None, spec: ModelSpec) -> Size | None:
    """Width and height in pixels, on the grid of ``spec``; ``None`` leaves the size open.

    Sides within the model's limits are rounded to the nearest multiple that it can draw. A ratio has the area of the
    model's default size; ``1K`` is a square of 1024 pixels, or the largest that the model draws.

    Raises:
        OpenAiError: it is none of these forms, or a side is beyond the model's limits.
    """
    plain = "" if text is None else text.strip()
    if plain.lower() in _AUTO:
        return None
    if found := _SIDES.fullmatch(plain):
        return rounded(int(found[1]), spec, "size"), rounded(int(found[2]), spec, "size")
    if (found := _RATIO.fullmatch(plain)) and int(found[1]) and int(found[2]):
        return _of_ratio(int(found[1]), int(found[2]), spec)
    if found := _KILO.fullmatch(plain):
        return fitted((int(found[1]) * _KILO_PX,) * 2, spec)
    raise OpenAiError(f"size: {_FORMS}", param="size")


def _of_ratio(across: int, down: int, spec: ModelSpec) -> Size:
    unit_px = math.sqrt(spec.defaults.width * spec.defaults.height / (across * down))
    return fitted((round(across * unit_px), round(down * unit_px)), spec)


def rounded(side_px: int, spec: ModelSpec, param: str) -> int:
    """``side_px`` on the grid of ``spec``; raises :class:`OpenAiError` for ``param`` if it is beyond its limits."""
    low, high, grid_px = _grid(spec)
    least_px, most_px = spec.limits.min_px, spec.limits.max_px
    if not least_px <= side_px <= most_px:
        message = f"{param}: each side must have from {least_px} to {most_px} pixels for {spec.name}"
        raise OpenAiError(message, param=param)
    return min(max(round(side_px / grid_px), low), high) * grid_px


def fitted(size: Size, spec: ModelSpec) -> Size:
    """``size`` (width, height) in pixels, scaled into the limits of ``spec`` and rounded to its grid.

    The aspect ratio is kept as far as the limits allow.
    """
    limits = spec.limits
    low, high, grid_px = _grid(spec)
    scale = min(limits.max_px / max(max(size), 1), 1) * max(limits.min_px / max(min(size), 1), 1) / grid_px
    width, height = (min(max(round(side * scale), low), high) * grid_px for side in size)
    return width, height


def _grid(spec: ModelSpec) -> tuple[int, int, int]:
    """The lowest and the highest side in multiples of the grid, and the grid in pixels."""
    return -(-spec.limits.min_px // spec.grid_px), spec.limits.max_px // spec.grid_px, spec.grid_px
