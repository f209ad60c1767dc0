"""Checks of what callers ask for; whatever they pass, they get a sentence."""

from __future__ import annotations

import math
from numbers import Integral, Real

from photogram_runtime.errors import InvalidRequest


def whole(value: object, name: str, low: int, high: int) -> int:
    """``value`` as a whole number from ``low`` to ``high``.

    Raises:
        InvalidRequest: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidRequest(f"{name} must be a whole number, not {_told(value)}")
    found = int(value)
    if not low <= found <= high:
        raise InvalidRequest(f"{name} must be from {low} to {high}, not {_told(found)}")
    return found


def number(value: object, name: str, low: float, high: float) -> float:
    """``value`` as a finite number from ``low`` to ``high``.

    Raises:
        InvalidRequest: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidRequest(f"{name} must be a number, not {_told(value)}")
    try:
        found = float(value)
    except OverflowError:  # of a whole number
        found = math.inf
    if not low <= found <= high:  # false for NaN
        raise InvalidRequest(f"{name} must be from {low:g} to {high:g}, not {_told(value)}")
    return found


def side(value: object, name: str, multiple: int, low: int, high: int) -> int:
    """``value`` as a width or height in pixels: a multiple of ``multiple`` from ``low`` to ``high``.

    Raises:
        InvalidRequest: it is none.
    """
    found = whole(value, name, low, high)
    if found % multiple:
        lower = max(found - found % multiple, math.ceil(low / multiple) * multiple)
        raise InvalidRequest(f"{name} must be a multiple of {multiple} px, not {found}; {lower} is one")
    return found


def _told(value: object) -> str:
    """``value`` in an error, however long it is; integers of more than 4,300 digits have no decimal form."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a number of more than 40 digits"
    return (
        f"{value!r:.60}"
        if isinstance(value, int | float | str | None)
        else f"a value of the type {type(value).__name__}"
    )
