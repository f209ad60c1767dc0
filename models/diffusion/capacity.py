"""How many rows are worth drawing at once, from what whole forwards and divided ones were measured to take."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Self

from models.diffusion.row import Row
from models.diffusion.work import Work

MIN_GAIN = 1.06
"""A batch is worth doubling while that makes so many times the images in the same time."""
ROWS_MAX = 32
"""How many rows are drawn at once at the most, for the sake of memory."""
ROWS_MIN = 2
"""How many rows of one sort are drawn at once at the least, so that there is always something to divide."""
PARTS = 4
"""Forwards that take the place of one when it is divided, if it has so many rows."""
DIVIDED_EVERY = 32
"""Forwards, of which one is divided: each costs what three forwards cost beside their inputs, a percent of so many."""
DIVIDED_EVERY_AT_FIRST = 2
"""The same until :data:`AT_FIRST` were divided."""
AT_FIRST = 16
STEP = 1.2
"""What one measurement at most multiplies or divides the number of inputs by, whatever it says."""
NEAR = 6
"""The latest forwards, among which an equal of the divided one is looked for: a slow moment is to hit both."""
_ROW_INPUTS = 2
"""Inputs of a row that is not prepared yet."""


@dataclass(frozen=True)
class Forward:
    """What a forward has to do; equal ones take equally long, but for noise."""

    sort: Hashable
    rows: int
    inputs: int
    efforts: Hashable = None
    """Of which group its rows are, and what the steps are that they take."""

    @classmethod
    def of(cls, batch: Sequence[Work]) -> Self:
        """That of ``batch``, whose pieces may share a forward."""
        efforts = frozenset(Counter(work.effort for work in batch).items())
        inputs = sum(work.inputs for work in batch)
        return cls(batch[0].sort, len(batch), inputs, (batch[0].group_key, efforts))


@dataclass
class _Measured:
    """What is known about one sort of rows."""

    worthwhile: float = ROWS_MIN * _ROW_INPUTS
    """Inputs of the largest batch that is worth its doubling."""
    whole: deque[tuple[Forward, float]] = field(default_factory=lambda: deque(maxlen=NEAR))
    """The latest forwards that were not divided, and their seconds."""
    since_divided: int = 0
    """Forwards."""
    times_divided: int = 0
    memory_limit: int | None = None
    """Inputs that the device's memory certainly holds."""

    def is_due(self, forward: Forward) -> bool:
        """Whether the next forward is to be divided: not while the batch is far from its limit."""
        every = DIVIDED_EVERY if self.times_divided >= AT_FIRST else DIVIDED_EVERY_AT_FIRST
        is_large = 2 * forward.inputs >= self.worthwhile
        return is_large and self.since_divided >= every and self._whole_s(forward) is not None

    def note(self, forward: Forward, seconds: float, parts: int) -> None:
        """Learn what one more forward took, or the ``parts`` that took its place."""
        if parts == 1:
            self.whole.append((forward, seconds))
            self.since_divided += 1
            return
        if (whole_s := self._whole_s(forward)) is not None:
            self._learn(forward.inputs, whole_s, seconds, parts)
        self.since_divided = 0

    def _whole_s(self, forward: Forward) -> float | None:
        """What the latest equal forward took that was not divided."""
        return next((seconds for whole, seconds in reversed(self.whole) if whole == forward), None)

    def _learn(self, inputs: int, whole_s: float, divided_s: float, parts: int) -> None:
        """Compare a forward with the parts of an equal one.

        A forward of n inputs takes about ``fixed + each * n``, its parts together ``parts * fixed + each * n``.
        Doubling n / 2 to n gains as long as ``2 * (fixed + each * n / 2) >= MIN_GAIN * (fixed + each * n)``. Noise is
        met by small steps, and so are devices on which that line is straight only nearby.
        """
        fixed_s = (divided_s - whole_s) / (parts - 1)
        each_s = (whole_s - fixed_s) / inputs
        found = (2 - MIN_GAIN) / (MIN_GAIN - 1) * fixed_s / each_s if each_s > 0 else math.inf
        stepped = min(max(found, self.worthwhile / STEP), self.worthwhile * STEP)
        self.worthwhile = min(max(stepped, ROWS_MIN * _ROW_INPUTS), ROWS_MAX * _ROW_INPUTS)
        self.times_divided += 1


class Capacity:
    """Bounds the rows that are drawn at once, for each sort of them by itself; rows of other sorts take turns.

    Args:
        rows: exactly so many rows of all sorts together; ``None`` is as many of each sort as are worth it.
    """

    def __init__(self, rows: int | None = None) -> None:
        if rows is not None and rows < 1:
            raise ValueError(f"rows must be at least 1, not {rows}")
        self.row_limit = rows or ROWS_MAX
        self._is_fixed = rows is not None
        self._measured: dict[Hashable, _Measured] = {}

    def admits(self, newcomer: Row, rows: Collection[Row]) -> bool:
        """Whether ``newcomer`` is to be drawn beside ``rows`` now; alone among its sort, it is unless all is full."""
        if len(rows) >= self.row_limit:
            return False
        sort = newcomer.sort
        beside = sum(_inputs(row) for row in rows if row.sort == sort)
        return not beside or beside + _inputs(newcomer) <= self.inputs_of(sort)

    def inputs_of(self, sort: Hashable) -> int:
        """How many inputs a forward of rows of ``sort`` may have."""
        measured = self._measured.get(sort, _Measured())
        worthwhile = self.row_limit * _ROW_INPUTS if self._is_fixed else int(measured.worthwhile)
        return worthwhile if measured.memory_limit is None else min(worthwhile, measured.memory_limit)

    def parts(self, forward: Forward) -> int:
        """Into how many ``forward``, the next one, is divided, to measure it.

        Nearly always one. What the parts took together is to be noted.
        """
        measured = self._measured.get(forward.sort)
        if self._is_fixed or measured is None or not measured.is_due(forward):
            return 1
        return min(PARTS, forward.rows)

    def note(self, forward: Forward, seconds: float, parts: int) -> None:
        """Learn what ``forward`` took, or the ``parts`` that took its place."""
        self._measured.setdefault(forward.sort, _Measured()).note(forward, seconds, parts)

    def note_too_many(self, sort: Hashable, inputs: int) -> None:
        """Learn that a forward of rows of ``sort`` did not fit into the device's memory."""
        self._measured.setdefault(sort, _Measured()).memory_limit = max(1, inputs // 2)


def _inputs(row: Row) -> int:
    return _ROW_INPUTS if row.work is None else row.work.inputs
