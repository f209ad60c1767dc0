"""Reads the facts of tool results, which are not trusted: a fact that is missing or garbage is said in a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.agent.calls import ToolResult
from models.errors import quoted

ENTRIES_MAX = 1_000
"""How many entries of a list are read."""


class FactMissing(Exception):
    """A result does not say what a check needs; the message says what is missing."""


class Facts:
    """The facts of one result.

    Args:
        asked: what was asked, as in ``measure of a.png``, for messages.
    """

    def __init__(self, values: Any, asked: str) -> None:
        if not isinstance(values, Mapping):
            raise FactMissing(f"{asked} answered something that is no object")
        self._values, self._asked = values, asked

    def number(self, key: str, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        return _number(self._values.get(key), low, high, f"{self._asked} gave no {key}")

    def count(self, key: str) -> int:
        return int(self.number(key, 0, 10**9))

    def flag(self, key: str) -> bool:
        value = self._values.get(key)
        if not isinstance(value, bool):
            raise FactMissing(f"{self._asked} gave no {key}")
        return value

    def text(self, key: str) -> str:
        value = self._values.get(key)
        if not isinstance(value, str):
            raise FactMissing(f"{self._asked} gave no {key}")
        return value

    def part(self, key: str) -> Facts:
        return Facts(self._values.get(key), f"{self._asked} ({key})")

    def parts(self, key: str) -> Iterator[Facts]:
        return (Facts(each, f"{self._asked} ({key})") for each in self._list(key))

    def numbers(self, key: str, count: int, low: float, high: float) -> list[float]:
        """Exactly ``count`` numbers from ``low`` to ``high``."""
        values = self._list(key)
        if len(values) != count:
            raise FactMissing(f"{self._asked} gave {len(values)} {key}, not {count}")
        return [_number(each, low, high, f"{self._asked} gave {key} that are no numbers") for each in values]

    def _list(self, key: str) -> Sequence[Any]:
        values = self._values.get(key)
        if not isinstance(values, list | tuple):
            raise FactMissing(f"{self._asked} gave no {key}")
        return values[:ENTRIES_MAX]


def facts_of(result: ToolResult, asked: str) -> Facts:
    """The facts of ``result``.

    Raises:
        FactMissing: the call failed, or the result is garbage.
    """
    if result.error is not None:
        raise FactMissing(f"{asked} failed: {quoted(str(result.error))}")
    return Facts(result.facts, asked)


def _number(value: Any, low: float, high: float, otherwise: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FactMissing(otherwise)
    if not low <= value <= high or not math.isfinite(value):
        raise FactMissing(f"{otherwise} from {low:g} to {high:g}")
    return float(value)
