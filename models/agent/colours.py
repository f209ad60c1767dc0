"""The names of colours that briefs and checks use, and which pixels count as each."""

from __future__ import annotations

import colorsys
import re
from typing import Literal, get_args

Colour = Literal["red", "orange", "yellow", "green", "teal", "blue", "light blue", "purple", "pink", "brown", "gray",
                 "black", "white"]  # fmt: skip
COLOURS: tuple[str, ...] = get_args(Colour)
"""Those that the built-in checkpoint was taught, and white."""
SPELLINGS = {"grey": "gray", "violet": "purple", "turquoise": "teal", "cyan": "teal", "sky blue": "light blue",
             "golden": "yellow", "gold": "yellow", "navy": "blue", "lilac": "purple", "magenta": "pink",
             "crimson": "red", "scarlet": "red", "beige": "brown", "silver": "gray"}  # fmt: skip
"""Other words, each with the colour that comes nearest."""
HUES = {"red": (342, 378), "orange": (13, 45), "yellow": (40, 72), "green": (68, 168), "teal": (155, 202),
        "blue": (192, 258), "light blue": (178, 232), "purple": (245, 318), "pink": (295, 375)}  # fmt: skip
"""Degrees from and to; neighbours overlap, since people disagree there."""
_PALE, _GRAYISH = 0.5, 0.25
"""The saturation below which a hue is called by its pale name, and gray if no name fits."""
_BROWN_FROM, _BROWN_BELOW, _DARK = 13, 0.65, 0.25
"""The least hue and the greatest value of what is called brown first, and the value below which all is black."""
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")


def colour_named(word: str) -> str | None:
    """The colour that ``word`` means."""
    word = " ".join(word.lower().split())
    return word if word in COLOURS else SPELLINGS.get(word)


def name_of(red: int, green: int, blue: int) -> str:
    """The one of :data:`COLOURS` that people would call a colour first, whose channels are from 0 to 255."""
    code = f"#{red:02x}{green:02x}{blue:02x}"
    fitting = [each for each in COLOURS if is_colour(code, each)]
    degrees, saturation, value = _hsv(code)
    for name, is_first in (
        ("white", True), ("gray", True), ("brown", degrees >= _BROWN_FROM and value < _BROWN_BELOW),
        ("pink", saturation < _PALE), ("light blue", saturation < _PALE), ("black", value < _DARK),
    ):  # fmt: skip
        if is_first and name in fitting:
            return name
    if not fitting and saturation < _GRAYISH:
        return "gray"
    hues = [each for each in fitting if each in HUES] or fitting or [*HUES]
    return min(hues, key=lambda each: _from_middle(degrees, each) if each in HUES else 0)


def is_colour(hex_code: str, name: str) -> bool:
    """Whether the colour ``#rrggbb`` may be called ``name``, one of :data:`COLOURS`; not so if it is no such code."""
    if _HEX.fullmatch(hex_code) is None:
        return False
    degrees, saturation, value = _hsv(hex_code)
    if name in ("white", "gray", "black"):
        return _is_neutral(name, saturation, value)
    if name == "brown":
        return _is_within(degrees, (0, 48)) and saturation >= 0.25 and 0.15 <= value <= 0.72
    if not _is_within(degrees, HUES[name]):
        return False
    if name in ("pink", "light blue"):
        return value >= 0.7 and 0.08 <= saturation <= 0.75
    return saturation >= 0.3 and value >= 0.25


def _hsv(hex_code: str) -> tuple[float, float, float]:
    """Hue in degrees, saturation and value of ``#rrggbb``."""
    red, green, blue = (channel / 255 for channel in bytes.fromhex(hex_code.removeprefix("#")))
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    return hue * 360, saturation, value


def _from_middle(degrees: float, name: str) -> float:
    """How far a hue is from the middle of those of ``name``, in degrees."""
    off = abs(degrees - sum(HUES[name]) / 2) % 360
    return min(off, 360 - off)


def _is_neutral(name: str, saturation: float, value: float) -> bool:
    if name == "white":
        return value >= 0.85 and saturation <= 0.12
    if name == "black":
        return value <= 0.28
    return saturation <= 0.18 and 0.2 <= value <= 0.88


def _is_within(degrees: float, hues: tuple[int, int]) -> bool:
    low, high = hues
    return low <= degrees <= high or low <= degrees + 360 <= high
