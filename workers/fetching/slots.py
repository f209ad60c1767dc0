"""How many jobs of a worker may wait for the network at a time: in total, per API key, and per host.

A key whose hosts do not answer can hold up neither the jobs of other keys nor its own jobs with other hosts.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from models.jobs.records import JobRecord
from models.jobs.sources import is_url
from models.jobs.urls import MalformedUrl, parse_url

TOTAL_MAX = 16
RESERVED = 6
"""How many of the slots are kept for keys that have none; these slots are taken last."""
PER_KEY_MAX = 6
PER_HOST_MAX = 10
PER_KEY_AND_HOST_MAX = 4
LATE_MAX = 8
"""After so many timeouts in a row of a host, the jobs of the same key with this host fail at once for a while."""
SHUNNED_S = 30.0
_LATE_HOSTS_MAX = 10_000


@dataclass(frozen=True)
class Lane:
    """What the limits of a job's fetch are counted by."""

    owner: str
    """The id of the API key."""
    hosts: tuple[str, ...]
    """The hosts of the job's URLs, each once; where they redirect to is not known yet."""

    @property
    def pairs(self) -> Iterator[tuple[str, str]]:
        """The key with each host."""
        return ((self.owner, host) for host in self.hosts)


def lane_of(record: JobRecord) -> Lane | None:
    """The lane of a job; ``None`` if it needs no fetch."""
    hosts = dict.fromkeys(_host(source) for source in record.params.sources if is_url(source))
    return Lane(record.owner, tuple(hosts)) if hosts else None


def _host(url: str) -> str:
    try:
        return parse_url(url).host
    except MalformedUrl:  # its fetch fails without a connection
        return ""


@dataclass(frozen=True)
class Busy:
    """What has no free slot now."""

    is_full: bool
    """Whether nobody may have another one."""
    owners: frozenset[str]
    hosts: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    """Keys with one host each."""

    def has_slot(self, lane: Lane) -> bool:
        """Whether there is one for a job of ``lane``."""
        return not (
            self.is_full
            or lane.owner in self.owners
            or self.hosts.intersection(lane.hosts)
            or self.pairs.intersection(lane.pairs)
        )


class FetchSlots:
    """The slots of one worker; safe to use from several threads."""

    def __init__(self) -> None:
        self._owners, self._hosts = Counter[str](), Counter[str]()
        self._pairs = Counter[tuple[str, str]]()
        self._late: dict[tuple[str, str], tuple[int, float]] = {}
        self._freed = 0
        self._lock = threading.Lock()

    @property
    def freed(self) -> int:
        """How many slots have been freed so far; while it stays the same, no slot has become free."""
        return self._freed

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._owners.total()

    def take(self, lane: Lane) -> bool:
        """Take a slot for a job, if there is one."""
        with self._lock:
            if not self._busy().has_slot(lane):
                return False
            self._count(lane, 1)
            return True

    def free(self, lane: Lane) -> None:
        """Free the slot of a job."""
        with self._lock:
            self._count(lane, -1)
            self._freed += 1

    def busy(self) -> Busy:
        """For whom there is no slot now."""
        with self._lock:
            return self._busy()

    def _busy(self) -> Busy:
        per_key = 1 if self.taken >= TOTAL_MAX - RESERVED else PER_KEY_MAX
        return Busy(
            is_full=self.taken >= TOTAL_MAX,
            owners=frozenset(owner for owner, count in self._owners.items() if count >= per_key),
            hosts=frozenset(host for host, count in self._hosts.items() if count >= PER_HOST_MAX),
            pairs=frozenset(pair for pair, count in self._pairs.items() if count >= PER_KEY_AND_HOST_MAX),
        )

    def _count(self, lane: Lane, change: int) -> None:
        _add(self._owners, lane.owner, change)
        for host in lane.hosts:
            _add(self._hosts, host, change)
        for pair in lane.pairs:
            _add(self._pairs, pair, change)

    # The circuit breaker

    def shunned_host(self, lane: Lane) -> str | None:
        """A host of the job that did not answer the same key lately; ``None`` if the job may try."""
        with self._lock:
            for pair in lane.pairs:
                count, last = self._late.get(pair, (0, 0.0))
                if count >= LATE_MAX and time.monotonic() - last < SHUNNED_S:
                    return pair[1]
        return None

    def note(self, lane: Lane, *, is_late: bool) -> None:
        """Note whether a fetch ended by a timeout; after a pause, one more timeout starts the next pause."""
        if is_late and len(lane.hosts) > 1:  # it is not known which of them was late
            return
        with self._lock:
            for pair in lane.pairs:
                if is_late:
                    self._note_late(pair)
                else:
                    self._late.pop(pair, None)

    def _note_late(self, pair: tuple[str, str]) -> None:
        count, _ = self._late.pop(pair, (0, 0.0))
        self._late[pair] = count + 1, time.monotonic()
        while len(self._late) > _LATE_HOSTS_MAX:
            del self._late[next(iter(self._late))]


def _add(counter: Counter[str] | Counter[tuple[str, str]], key: object, change: int) -> None:
    """Count, without keeping what has come down to 0."""
    counts: Counter[object] = counter  # type: ignore[assignment]
    counts[key] += change
    if not counts[key]:
        del counts[key]
