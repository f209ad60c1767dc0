"""The times of forwards, as the capacity learns from them: the device's own, and none that side work disturbed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from models.diffusion.capacity import Capacity, Forward
from models.diffusion.side_work import SideWork
from models.diffusion.streams import Mark, Streams


class ForwardTimes:
    """Times forwards by marks in the steps' stream, and records those beside which no side work computed.

    The times are read once the device has passed the marks, so that nobody waits for it. A decoding beside a forward
    makes it slower, and would be learnt as the cost of its rows.
    """

    def __init__(self, streams: Streams, side_work: SideWork, capacity: Capacity) -> None:
        self._streams, self._side_work, self._capacity = streams, side_work, capacity
        self._begin: Mark = None
        self._side_work_begun: int | None = None
        """How much side work had begun before the forward; ``None`` if some was computing."""
        self._timed: deque[tuple[Forward, Sequence[Forward], Mark, Mark]] = deque()

    def begin(self, forward: Forward) -> int:
        """Start to time ``forward``; returns in how many parts it is to be run."""
        self._record_passed()
        self._side_work_begun = None if self._side_work.is_computing else self._side_work.begun
        self._begin = self._streams.mark()
        return 1 if self._side_work_begun is None else self._capacity.split_count(forward)

    def end(self, forward: Forward, parts: Sequence[Forward]) -> None:
        """Time ``forward``, which was run as ``parts``, up to here."""
        if self._side_work_begun == self._side_work.begun:
            self._timed.append((forward, parts, self._begin, self._streams.mark()))
        self._record_passed()

    def _record_passed(self) -> None:
        while self._timed:
            forward, parts, begin, end = self._timed[0]
            seconds = self._streams.elapsed_s(begin, end)
            if seconds is None:
                return
            self._timed.popleft()
            self._capacity.record(forward, seconds, parts)
