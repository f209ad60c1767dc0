"""Which jobs that need a fetch a worker takes: beyond its slots they wait in Redis, where any worker can take them.

A job waits at most once for each delivery, and in Redis only: a worker that dies loses none. Each API key has its turn,
and of the jobs of a key the oldest one whose hosts have a free slot goes first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from redis import Redis

from models.errors import InputUnavailable
from models.jobs.records import JobRecord
from service.backbone import scripts
from service.backbone.keyspace import fetch_owners_key, fetches_key, rq_intermediate_key
from workers.fetch import FetchTimeout
from workers.fetching.slots import SHUNNED_S, FetchSlots, Lane, lane_of

Fetched = TypeVar("Fetched")

_LOOK_S = 1.0
"""How often a worker looks for waiting jobs although none of its slots was freed: other workers may have left some."""


class FetchGate:
    """One worker's share of the fetches of one queue; :meth:`leave` may be called from any thread."""

    def __init__(self, connection: Redis, queue: str) -> None:
        self.slots = FetchSlots()
        self._fetches_key, self._owners_key = fetches_key(queue), fetch_owners_key(queue)
        self._intermediate_key = rq_intermediate_key(queue)
        self._park = connection.register_script(scripts.park_fetch())
        self._claim = connection.register_script(scripts.claim_fetch())
        self._waiting = 0
        self._looked_at, self._looked_after = 0.0, -1

    @property
    def has_waiting(self) -> bool:
        """Whether jobs waited for a fetch when this worker looked last."""
        return self._waiting > 0

    def claim(self) -> str | None:
        """Move a waiting job that has a slot here to the intermediate list, and return its id."""
        freed, now = self.slots.freed, time.monotonic()
        if freed == self._looked_after and now - self._looked_at < _LOOK_S:
            return None
        busy = self.slots.busy()
        if busy.is_full:
            return None
        limits = {
            "owners": dict.fromkeys(busy.owners, 1),
            "hosts": dict.fromkeys(busy.hosts, 1),
            "pairs": dict.fromkeys(("\n".join(pair) for pair in busy.pairs), 1),
        }
        keys = [self._fetches_key, self._owners_key, self._intermediate_key]
        answer: Any = self._claim(keys=keys, args=[repr(time.time()), json.dumps(limits)])
        found, self._waiting = answer
        if found is None:
            self._looked_at, self._looked_after = now, freed
        return None if found is None else str(found.decode())

    def enter(self, record: JobRecord) -> bool:
        """Take a slot for a job in the intermediate list; a job that must wait for one is moved to those that wait.

        Returns whether the job may be started now. A job that needs no fetch always may.
        """
        lane = lane_of(record)
        if lane is None or self.slots.take(lane):
            return True
        self._leave_waiting(record.job_id, lane)
        return False

    def leave(self, record: JobRecord) -> None:
        """Free the slot of a job that entered."""
        lane = lane_of(record)
        if lane is not None:
            self.slots.free(lane)

    def run(self, record: JobRecord, fetch: Callable[[], Fetched]) -> Fetched:
        """The result of ``fetch``, unless the host of the job did not answer the same API key several times lately.

        Raises:
            InputUnavailable: as ``fetch`` raises it.
        """
        lane = lane_of(record)
        assert lane is not None
        shunned = self.slots.shunned_host(lane)
        if shunned is not None:
            raise InputUnavailable(f"{shunned} did not answer in time lately; try again in {SHUNNED_S:g} s")
        try:
            fetched = fetch()
        except InputUnavailable as failure:
            self.slots.note(lane, is_late=isinstance(failure, FetchTimeout))
            raise
        self.slots.note(lane, is_late=False)
        return fetched

    def _leave_waiting(self, job_id: str, lane: Lane) -> None:
        now = time.time()
        member = "\n".join((lane.owner, f"{now:017.6f}", " ".join(lane.hosts), job_id))
        keys = [self._intermediate_key, self._fetches_key, self._owners_key]
        self._waiting += 1
        self._park(keys=keys, args=[job_id, member, lane.owner, repr(now)])
