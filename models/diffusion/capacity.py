"""Capacity: how many rows are drawn at once, learnt from the time that whole and split forwards take."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Self

from models.diffusion.denoiser import computed_inputs
from models.diffusion.row import Row
from models.diffusion.work import Work

MIN_GAIN = 1.06
"""Doubling a batch is worth while if it draws at least this many times as many images per second."""
ROWS_MAX = 32
"""The largest number of rows drawn at once, for the sake of memory."""
ROWS_MIN = 2
"""The smallest number of rows with one cost key drawn at once; with fewer there would be nothing to split."""
PARTS = 4
"""The number of parts of a split forward, if it has so many rows."""
SPLIT_EVERY = 32
"""One of this many forwards is split. A split costs the fixed cost of three more forwards, a percent of so many."""
SPLIT_EVERY_AT_FIRST = 2
"""The same for the first :data:`FIRST_SPLITS` splits."""
FIRST_SPLITS = 16
MAX_CHANGE = 1.2
"""One measurement changes the target batch size by at most this factor."""
GROW_AFTER = 200
"""After so many forwards as large as the memory limit allows, one more row is tried: memory may be free again."""
RECENT = 6
"""A split forward is compared with an equal one among this many recent ones, so that a slow moment affects both."""
SHAPES_MAX = 1024
"""Of so many shapes it is known that they have run; in each process they are few, unless LoRAs come and go."""
AHEAD_MAX = 8
"""The largest number of rows that are encoded, decoded, or wait for a place, beside those that are drawn."""
_INPUTS_PER_ROW = 2
"""The assumed number of inputs of a row that is not prepared yet."""


@dataclass(frozen=True)
class Forward:
    """What a forward computes. Equal forwards take the same time, except for noise."""

    cost_key: Hashable
    rows: int
    inputs: int
    step_cost_keys: Hashable = None
    """The group of the rows and the step cost keys of their next steps."""
    kinds_of_steps: Hashable = None
    """The same without how many rows have each step cost key."""
    batch_sizes: tuple[int, ...] = ()
    """The sizes of batches that the model runs, ascending; empty for any size."""

    @property
    def computed(self) -> int:
        """The number of inputs that are computed, with padding."""
        return computed_inputs(self.inputs, self.batch_sizes)

    @property
    def shape(self) -> int:
        """Equal for forwards on tensors of equal shapes, which run the same kernels."""
        return hash((self.cost_key, self.kinds_of_steps, self.computed))

    @classmethod
    def of(cls, batch: Sequence[Work[object]]) -> Self:
        """The forward of ``batch``, whose pieces of work have equal group keys."""
        steps = Counter(work.step_cost_key for work in batch)
        inputs, group = sum(work.inputs for work in batch), batch[0].group_key
        step_cost_keys, kinds = (group, frozenset(steps.items())), (group, frozenset(steps))
        return cls(batch[0].cost_key, len(batch), inputs, step_cost_keys, kinds, batch[0].batch_sizes)


@dataclass
class _Measurements:
    """What was measured for one cost key."""

    target_batch_size: float = ROWS_MIN * _INPUTS_PER_ROW
    """The largest batch, in inputs, that is worth while."""
    recent: deque[tuple[Forward, float]] = field(default_factory=lambda: deque(maxlen=RECENT))
    """The latest forwards that were not split, and their seconds."""
    since_split: int = 0
    """The number of forwards since the last split one."""
    splits: int = 0
    memory_limit: int | None = None
    """The number of inputs that fit into the device's memory, known once a larger forward did not fit."""
    fits: int = 0
    """The largest number of inputs of a forward that did fit since then."""
    at_limit: int = 0
    """The number of forwards since the last change of the memory limit that could take no further row."""
    batch_sizes: tuple[int, ...] = ()
    """The sizes of batches that the model runs, of the latest forward."""

    @property
    def largest_batch(self) -> int:
        """The largest number of inputs that is worth while; where batches are padded, the size to which it is padded,
        because further rows cost nothing up to that size, and nothing is gained above the last one."""
        target = int(self.target_batch_size)
        return min(computed_inputs(target, self.batch_sizes), *self.batch_sizes[-1:]) if self.batch_sizes else target

    def is_split_due(self, forward: Forward) -> bool:
        """Whether ``forward``, the next one, is to be split; never while batches are far below the target size."""
        every = SPLIT_EVERY if self.splits >= FIRST_SPLITS else SPLIT_EVERY_AT_FIRST
        is_large = 2 * forward.inputs >= self.target_batch_size
        return is_large and self.since_split >= every and self._whole_s(forward) is not None

    def record(self, forward: Forward, seconds: float, parts: Sequence[Forward]) -> None:
        """Learn from the seconds that ``forward`` took, computed as ``parts``."""
        if len(parts) == 1:
            self.recent.append((forward, seconds))
            self.since_split += 1
            return
        if (whole_s := self._whole_s(forward)) is not None:
            self._learn(forward.computed, whole_s, seconds, [part.computed for part in parts])
        self.since_split = 0

    def note_fit(self, forward: Forward) -> None:
        """Note the batch sizes of the model, and raise the memory limit by one row after many forwards that reached
        it, up to the target size."""
        self.batch_sizes = forward.batch_sizes
        if self.memory_limit is not None:
            self._grow(forward, self.memory_limit)

    def _grow(self, forward: Forward, memory_limit: int) -> None:
        self.fits = max(self.fits, min(forward.computed, memory_limit))
        self.at_limit += forward.inputs + _INPUTS_PER_ROW > _largest(self.batch_sizes, memory_limit)
        if self.at_limit >= GROW_AFTER:
            self.memory_limit, self.at_limit = memory_limit + _INPUTS_PER_ROW, 0

    def shrink(self, inputs: int) -> None:
        """Lower the memory limit, since a forward of ``inputs`` did not fit: to what did fit, or to the half."""
        fits = self.fits if self.fits < inputs else 0
        self.memory_limit, self.at_limit, self.fits = max(1, inputs // 2, fits), 0, 0

    def _whole_s(self, forward: Forward) -> float | None:
        """The seconds of the latest equal forward that was not split."""
        return next((seconds for whole, seconds in reversed(self.recent) if whole == forward), None)

    def _learn(self, inputs: int, whole_s: float, split_s: float, parts: Sequence[int]) -> None:
        """Compare the times of two equal forwards, one whole and one split into ``parts``.

        A forward that computes n inputs takes about ``fixed + each * n`` seconds, and its parts together take
        ``len(parts) * fixed + each * sum(parts)``, where the sum is more than n if parts are padded. Batches of n are
        worth while, compared with batches of n / 2, as long as
        ``2 * (fixed + each * n / 2) >= MIN_GAIN * (fixed + each * n)``. Each measurement changes the target by a small
        factor only, because measurements are noisy, and because on some devices the time is no straight line.
        """
        known = len(parts) * inputs - sum(parts)  # 0 if every part is padded to the whole: a larger batch is tried then
        fixed_s = (split_s * inputs - whole_s * sum(parts)) / known if known else 0.0
        each_s = (whole_s - fixed_s) / inputs if known else 0.0
        found = (2 - MIN_GAIN) / (MIN_GAIN - 1) * fixed_s / each_s if each_s > 0 else math.inf
        limited = min(max(found, self.target_batch_size / MAX_CHANGE), self.target_batch_size * MAX_CHANGE)
        self.target_batch_size = min(max(limited, ROWS_MIN * _INPUTS_PER_ROW), ROWS_MAX * _INPUTS_PER_ROW)
        self.splits += 1


class Capacity:
    """Bounds the number of rows drawn at once, separately for each cost key.

    Args:
        rows: a fixed number of rows of all cost keys together; ``None`` finds a number for each cost key.

    Raises:
        ValueError: ``rows`` is below 1.
    """

    def __init__(self, rows: int | None = None) -> None:
        if rows is not None and rows < 1:
            raise ValueError(f"rows must be at least 1, not {rows}")
        self.row_limit = rows or ROWS_MAX
        self._is_fixed = rows is not None
        self._have_run: dict[int, None] = {}
        """The shapes of forwards that have run, the oldest first."""
        self._measured: dict[Hashable, _Measurements] = {}

    def expect(self, cost_key: Hashable, inputs: int) -> None:
        """Begin with batches of ``inputs``, which an earlier process found on such a processor; nothing if this one has
        measured such forwards itself. What they take here corrects the number.
        """
        most = min(max(inputs, ROWS_MIN * _INPUTS_PER_ROW), ROWS_MAX * _INPUTS_PER_ROW)
        self._measured.setdefault(cost_key, _Measurements(target_batch_size=float(most)))

    def admits(self, newcomer: Row, rows: Collection[Row], ahead: int = 0) -> bool:
        """Whether ``newcomer`` may be drawn beside ``rows``; the first row of its cost key may if there is a place.

        Args:
            ahead: how many rows more than can be drawn may be there; see :meth:`rows_ahead`.
        """
        if len(rows) >= self.row_limit + ahead:
            return False
        cost_key = newcomer.cost_key
        inputs = sum(_inputs(row) for row in rows if row.cost_key == cost_key)
        most = self.max_inputs(cost_key) + _INPUTS_PER_ROW * ahead
        return not inputs or inputs + _inputs(newcomer) <= most

    def rows(self, cost_key: Hashable) -> int:
        """About how many rows with ``cost_key`` are drawn at once."""
        return max(1, self.max_inputs(cost_key) // _INPUTS_PER_ROW)

    def rows_ahead(self, cost_key: Hashable) -> int:
        """How many rows may be encoded, decoded, or wait for a place, beside those with ``cost_key`` that are drawn.

        As many as take half of the places, so that rows are prepared before places are free; at most
        :data:`AHEAD_MAX`, since each holds its encoded prompts, latents and images.
        """
        return min(AHEAD_MAX, (self.rows(cost_key) + 1) // 2)

    def max_inputs(self, cost_key: Hashable) -> int:
        """The largest number of inputs of one forward of rows with ``cost_key``."""
        measured = self._measured.get(cost_key, _Measurements())
        target = self.row_limit * _INPUTS_PER_ROW if self._is_fixed else measured.largest_batch
        limit = measured.memory_limit
        return target if limit is None else min(target, _largest(measured.batch_sizes, limit))

    def shared_inputs(self, cost_key: Hashable, inputs: int) -> int:
        """The largest number of inputs of a forward that takes at most twice as long as one of ``inputs``.

        A forward of n inputs takes about ``fixed + each * n`` seconds, where ``fixed / each`` follows from the batch
        size that is worth while. With a fixed number of rows, as many inputs as these have.
        """
        most = self.max_inputs(cost_key)
        if self._is_fixed:
            return most
        measured = self._measured.get(cost_key, _Measurements())
        fixed_inputs = measured.target_batch_size * (MIN_GAIN - 1) / (2 - MIN_GAIN)
        return min(most, _largest(measured.batch_sizes, int(2 * inputs + fixed_inputs)))

    def split_count(self, forward: Forward) -> int:
        """The number of parts that ``forward``, the next one, is to be split into; 1 unless it is to be measured."""
        measured = self._measured.get(forward.cost_key)
        if self._is_fixed or measured is None or not measured.is_split_due(forward):
            return 1
        return min(PARTS, forward.rows)

    def record(self, forward: Forward, seconds: float, parts: Sequence[Forward]) -> None:
        """Learn from the seconds that ``forward`` took, all its ``parts`` together.

        Nothing is learnt from a part whose shape runs for the first time: kernels are compiled or chosen then, and
        memory is allocated, which later forwards need not do.

        Args:
            parts: ``forward`` itself if it was not split.
        """
        measured = self._measured.setdefault(forward.cost_key, _Measurements())
        measured.note_fit(forward)
        if self._have_all_run(parts):
            measured.record(forward, seconds, parts)

    def _have_all_run(self, parts: Sequence[Forward]) -> bool:
        """Whether forwards of all these shapes have run before; they have from now on."""
        new = [part.shape for part in parts if part.shape not in self._have_run]
        self._have_run.update(dict.fromkeys(new))
        while len(self._have_run) > SHAPES_MAX:
            del self._have_run[next(iter(self._have_run))]
        return not new

    def record_out_of_memory(self, cost_key: Hashable, inputs: int) -> None:
        """Allow fewer inputs, since a forward of ``inputs`` did not fit into the device's memory.

        Later the number rises again, a row at a time, because other models may have left the memory.
        """
        self._measured.setdefault(cost_key, _Measurements()).shrink(inputs)


def _largest(batch_sizes: Sequence[int], limit: int) -> int:
    """The largest number of inputs up to ``limit`` that needs no padding; ``limit`` if every size is larger."""
    return max((size for size in batch_sizes if size <= limit), default=limit)


def _inputs(row: Row) -> int:
    return _INPUTS_PER_ROW if row.work is None else row.work.inputs
