"""Sizes of images as people write them, such as ``512x768``."""

from __future__ import annotations

Shape = tuple[int, int]
"""A width and a height in pixels."""
_DIGITS_MAX = 8


def read_shape(text: str) -> Shape:
    """The width and the height; raises :class:`ValueError` if ``text`` is no size."""
    width, _, height = text.partition("x")
    if not all(each.isascii() and each.isdecimal() and len(each) < _DIGITS_MAX for each in (width, height)):
        raise ValueError(f"{text[:40]!r} is no size; a size is WIDTHxHEIGHT in pixels, such as 512x768")
    return int(width), int(height)
