"""The scheduler: it owns waiting and running rows, admits rows while there is capacity, and selects each batch."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence

from models.diffusion.capacity import Capacity
from models.diffusion.row import Finishing, Row, Running
from models.diffusion.work import Work

SHARING_OWNERS_MAX = 4
"""Beside rows of at most so many owners, the first row of another one may be there beyond the capacity."""


class Scheduler:
    """Shares the device between owners, and between the rows of each owner, by fair queueing.

    Each owner has a virtual time: the device time that its rows have used, divided by its weight. The owner with the
    least virtual time is served next. Rows of other owners may share its forwards, as long as these take at most twice
    as long as without: one row beside many of another owner takes at most about twice the time that it takes alone.

    Of the rows of an owner, each has a virtual time: the device time that it has used, divided by the share that its
    priority gives it. The row with the least virtual time is served next, together with others that can share its
    forward. So the rows get their shares of the device whatever the size of their images: a large image never delays
    small ones by more than one forward, and small ones never starve a large one, because new rows start level with the
    least served row and the older of two level rows goes first.

    A row that is ready to take steps gets a place, if the capacity admits it beside the rows that have one, and keeps
    it until its work has taken its last step. So rows that are encoded or decoded take no place. Of the rows without
    one, those of the owner with the fewest for its weight go first, of these the highest priority, then the oldest; if
    it needs more room than is free, the rows of its cost key behind it wait with it. An owner without any row there
    gets a place beyond the capacity, which bounds each forward all the same.

    One thread, the engine's, admits and selects; :meth:`add` and :meth:`remove` may be called from any thread.

    Args:
        prepares_ahead: whether rows are admitted before there is a place for them, so that they are prepared by then:
            only useful where side work computes beside the steps.
    """

    def __init__(self, capacity: Capacity, *, prepares_ahead: bool = False) -> None:
        self._capacity, self._prepares_ahead = capacity, prepares_ahead
        self._places: dict[Row, Work[object]] = {}
        """The rows that may take steps, each with the piece of work that it got its place for."""
        self._waiting: dict[str, Row] = {}
        self._running: dict[str, Row] = {}
        self._owner_times_s: dict[str, float] = {}
        """The virtual times of the owners of running rows, in seconds."""
        self._lock = threading.Lock()
        """Held while a row moves in or out, so that a row cannot be canceled unseen during its admission."""

    @property
    def row_ids(self) -> tuple[str, ...]:
        """The ids of running and then of waiting rows, the oldest first."""
        with self._lock:
            return (*self._running, *self._waiting)

    @property
    def waiting_ids(self) -> tuple[str, ...]:
        """The ids of the rows that wait for admission."""
        with self._lock:
            return tuple(self._waiting)

    @property
    def waiting(self) -> int:
        """The number of rows that wait for admission."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """The number of rows that were admitted."""
        return len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether there are no rows."""
        return not self._running and not self._waiting

    @property
    def keys_in_use(self) -> set[Hashable]:
        """The keys of all models that running rows use."""
        return {key for row in list(self._running.values()) for key in row.keys}

    def add(self, row: Row) -> None:
        """Let ``row`` wait for admission.

        Raises:
            ValueError: there is a row with the same id.
        """
        with self._lock:
            if row.row_id in self._running or row.row_id in self._waiting:
                raise ValueError(f"there is a row {row.row_id!r} already")
            self._waiting[row.row_id] = row

    def remove(self, row_id: str) -> None:
        """Forget a row; an unknown id is no error, since the row may have just ended."""
        with self._lock:
            self._waiting.pop(row_id, None)
            self._running.pop(row_id, None)

    def end(self, row: Row) -> None:
        """Forget ``row``, but no new row with the same id."""
        with self._lock:
            if self.is_running(row):
                del self._running[row.row_id]

    def find(self, row_id: str) -> Row | None:
        """The running row with that id, or ``None``."""
        return self._running.get(row_id)

    def is_running(self, row: Row) -> bool:
        """Whether ``row`` was admitted and not removed; a new row with the same id is not ``row``."""
        return self._running.get(row.row_id) is row

    def admit(self) -> Iterator[Row]:
        """Move waiting rows to the running ones while there is capacity, in turns of their owners.

        Each row is yielded before the next one is considered, so that the caller can prepare it: a prepared row tells
        its true number of inputs.
        """
        for row in _in_turns(list(self._waiting.values()), list(self._running.values())):
            running = list(self._running.values())
            ahead = self._capacity.rows_ahead(row.cost_key) if self._prepares_ahead else 0
            is_admitted = self._capacity.admits(row, running, ahead) or _is_new_owner(row, running)
            if is_admitted and self._start(row, running):
                yield row

    def joining_soon(self) -> int:
        """How many waiting rows could be admitted at the next step, if they are like those that are running.

        These are the rows that the capacity admits beside the running ones, and those that replace rows with one step
        left. At least 1.
        """
        running = list(self._running.values())
        if not running:
            return 1
        cost_key = running[-1].cost_key
        ahead = self._capacity.rows_ahead(cost_key) if self._prepares_ahead else 0
        staying = [row.cost_key for row in running if not _takes_last_step(row)]
        alike = self._capacity.rows(cost_key) - staying.count(cost_key)
        return max(1, ahead + min(alike, self._capacity.row_limit - len(staying)))

    def _start(self, row: Row, running: Sequence[Row]) -> bool:
        """Move ``row`` to the running rows; false if it was removed in the meantime."""
        with self._lock:
            if self._waiting.get(row.row_id) is not row:
                return False
            del self._waiting[row.row_id]
            self._level_owner(row.owner, {each.owner for each in running})
            row.virtual_time_s = min((each.virtual_time_s for each in running), default=0.0)
            row.admitted_at = time.monotonic()
            self._running[row.row_id] = row
            return True

    def _level_owner(self, owner: str, running: Collection[str]) -> None:
        """Let ``owner``, if it is not among the owners of running rows, start level with the least served of these."""
        times_s = {each: self._owner_times_s[each] for each in running}
        times_s.setdefault(owner, min(times_s.values(), default=0.0))
        self._owner_times_s = times_s

    def select_batch(self) -> list[Row]:
        """The rows that share the next forward, at most as many as the capacity allows; empty if no row can run."""
        runnable = self._placed()
        if not runnable:
            return []
        counts = Counter(row.owner for row in runnable)
        runnable.sort(
            key=lambda row: (self._owner_times_s[row.owner], counts[row.owner], row.virtual_time_s, row.admitted_at)
        )
        first = current_work(runnable[0])
        group_key = first.group_key
        group = [row for row in runnable if current_work(row).group_key == group_key]
        return _first_rows(group, self._max_inputs(group))

    def _max_inputs(self, group: Sequence[Row]) -> int:
        """The largest number of inputs of a forward for rows of ``group``, which serves the owner of the first one."""
        cost_key, owner = current_work(group[0]).cost_key, group[0].owner
        if all(row.owner == owner for row in group):
            return self._capacity.max_inputs(cost_key)
        own = sum(current_work(row).inputs for row in group if row.owner == owner)
        return self._capacity.shared_inputs(cost_key, own)

    def _placed(self) -> list[Row]:
        """The rows that have a place, after free places were given away."""
        ready = [row for row in list(self._running.values()) if isinstance(row.state, Running)]
        placed = [row for row in ready if self._places.get(row) is row.work]
        full: set[Hashable] = set()
        """The cost keys of rows for which there is no room: smaller rows behind them would take each freed place."""
        without = sorted((row for row in ready if row not in placed), key=lambda row: row.admitted_at)
        for row in _in_turns(without, placed):
            is_new_owner = _is_new_owner(row, placed)
            if row.cost_key in full and not is_new_owner:
                continue
            if not is_new_owner and not self._capacity.admits(row, placed):
                full.add(row.cost_key)
            else:
                least_s = min((each.virtual_time_s for each in placed), default=0.0)
                row.virtual_time_s = max(row.virtual_time_s, least_s)
                placed.append(row)
        self._places = {row: current_work(row) for row in placed}
        return placed

    def charge(self, rows: Sequence[Row], seconds: float) -> None:
        """Charge ``rows`` the device time that their step took, each in proportion to its inputs."""
        inputs = [1 if row.work is None else row.work.inputs for row in rows]
        each_s = seconds / sum(inputs)
        for row, count in zip(rows, inputs, strict=True):
            row.charge(each_s * count)
            self._owner_times_s[row.owner] += each_s * count / row.weight


def current_work(row: Row) -> Work[object]:
    """The work of a row in the state ``Running``."""
    work = row.work
    assert work is not None
    return work


def _in_turns(rows: Sequence[Row], served: Collection[Row]) -> list[Row]:
    """``rows``, which are by age, in the order in which they join ``served``.

    Those of the owner with the fewest rows for its weight go first, then the oldest; the rows of each owner are by
    priority.
    """
    ages = {row: age for age, row in enumerate(rows)}
    counts = Counter(row.owner for row in served)
    places: dict[Row, float] = {}
    for row in sorted(rows, key=lambda row: -row.task.params.priority):
        counts[row.owner] += 1
        places[row] = counts[row.owner] / row.weight
    return sorted(rows, key=lambda row: (places[row], ages[row]))


def _is_new_owner(row: Row, rows: Collection[Row]) -> bool:
    """Whether ``row`` is the first of its owner beside ``rows``, and these do not have too many owners already."""
    owners = {each.owner for each in rows}
    return row.owner not in owners and len(owners) <= SHARING_OWNERS_MAX


def _takes_last_step(row: Row) -> bool:
    """Whether the plan of ``row`` is about to end: it is finishing, or has one step left and nothing after it."""
    work = row.work
    if work is None:
        return isinstance(row.state, Finishing)
    return work.step + 1 >= work.steps and not row.steps_ahead


def _first_rows(rows: Sequence[Row], max_inputs: int) -> list[Row]:
    """The first of ``rows`` that have at most ``max_inputs`` inputs together, but at least one row."""
    taken, inputs = list(rows[:1]), current_work(rows[0]).inputs
    for row in rows[1:]:
        inputs += current_work(row).inputs
        if inputs > max_inputs:
            break
        taken.append(row)
    return taken
