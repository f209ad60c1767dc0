"""How many rows are worth drawing at once, from what forwards of each size were measured to take."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field

from models.diffusion.row import Row

MIN_GAIN = 1.05
"""A batch is worth doubling while that makes so many times the pictures in the same time."""
ROWS_MAX = 32
"""How many rows are drawn at once at the most, for the sake of memory."""
ROWS_MIN = 2
"""How many rows of one sort are drawn at once at the least, so that there are always two sizes to learn from."""
FORGOTTEN_AFTER = 256
"""A size that was not seen for so many forwards is forgotten, so that a slow moment does not count for ever."""
_SAMPLES = 9
_ROW_INPUTS = 2
"""Inputs of a row that is not prepared yet."""


@dataclass
class _Measured:
    """What is known about one sort of rows."""

    seconds: dict[int, deque[float]] = field(default_factory=dict)
    """The latest forwards' times by how many inputs they had."""
    last_seen: dict[int, int] = field(default_factory=dict)
    """By how many inputs: the number of the last such forward."""
    forwards: int = 0
    memory_limit: int | None = None
    """Inputs that the device's memory certainly holds."""

    def note(self, inputs: int, seconds: float) -> None:
        """Learn what one more forward took."""
        self.forwards += 1
        self.seconds.setdefault(inputs, deque(maxlen=_SAMPLES)).append(seconds)
        self.last_seen[inputs] = self.forwards
        for size in [size for size, seen in self.last_seen.items() if self.forwards - seen > FORGOTTEN_AFTER]:
            if len(self.seconds) > 2:
                del self.seconds[size], self.last_seen[size]

    def worthwhile_inputs(self) -> int:
        """The largest batch that is worth its doubling.

        A forward of n inputs takes about ``fixed + each * n`` seconds, fitted by least squares. Doubling n / 2 to n
        gains as long as ``2 * (fixed + each * n / 2) >= MIN_GAIN * (fixed + each * n)``.
        """
        line = self._line()
        if line is None:
            return ROWS_MIN * _ROW_INPUTS
        fixed, each = line
        if each <= 0:
            return 2 * max(self.seconds)  # what was measured came free; look further
        return max(ROWS_MIN * _ROW_INPUTS, int((2 - MIN_GAIN) * fixed / ((MIN_GAIN - 1) * each) + 1e-6))

    def _line(self) -> tuple[float, float] | None:
        """Seconds that a forward takes at least, and for each input more; ``None`` before two sizes were seen."""
        if len(self.seconds) < 2:
            return None
        points = [(inputs, min(samples)) for inputs, samples in self.seconds.items()]
        mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        each = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
        return max(0.0, mean_y - each * mean_x), each


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
        worthwhile = self.row_limit * _ROW_INPUTS if self._is_fixed else measured.worthwhile_inputs()
        return worthwhile if measured.memory_limit is None else min(worthwhile, measured.memory_limit)

    def note(self, sort: Hashable, inputs: int, seconds: float) -> None:
        """Learn what a forward of rows of ``sort`` took."""
        self._measured.setdefault(sort, _Measured()).note(inputs, seconds)

    def note_too_many(self, sort: Hashable, inputs: int) -> None:
        """Learn that a forward of rows of ``sort`` did not fit into the device's memory."""
        self._measured.setdefault(sort, _Measured()).memory_limit = max(1, inputs // 2)


def _inputs(row: Row) -> int:
    return _ROW_INPUTS if row.work is None else row.work.inputs
