"""Numbers that clients send as text, as forms and shells do."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{0,20})?([eE][+-]?\d{1,2})?")


def number_of(value: object) -> object:
    """The number that ``value`` is the text of, whole unless it has a point or an exponent; anything else unchanged."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value.strip()):
        return value
    return float(value) if set(value) & set(".eE") else int(value)


def whole_of(value: object) -> object:
    """As :func:`number_of`, with a float without a fraction as a whole number."""
    found = number_of(value)
    return int(found) if isinstance(found, float) and found.is_integer() else found
