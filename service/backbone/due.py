"""What happens to jobs at a certain time, also if there is no worker: deadlines end them, and removals remove them.

Every gateway looks once a second; an event that two of them handle has the same effect as if one did.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from redis import Redis

from service.backbone import scripts, trail
from service.backbone.keyspace import DUE_KEY, events_key, record_key
from service.backbone.owned_jobs import REMOVE, OwnedJobs

SWEPT_MAX = 500
"""How many events one sweep handles."""
RUNNING_AGAIN_S = 2.0
"""When the removal of a job that a worker still runs is tried again."""

log = logging.getLogger(__name__)


class DueJobs:
    """Handles the events whose time has come; its methods block."""

    def __init__(self, connection: Redis, owned: OwnedJobs, record_ttl_s: int) -> None:
        self._connection, self._owned, self._ttl_s = connection, owned, record_ttl_s
        self._overdue = connection.register_script(scripts.overdue())

    def sweep(self, now: float | None = None) -> int:
        """Handle what is due at ``now``, in seconds since the epoch; returns how many events that were."""
        now = time.time() if now is None else now
        found: Any = self._connection.zrangebyscore(DUE_KEY, "-inf", now, start=0, num=SWEPT_MAX)
        for member in found:
            event, _, job_id = member.decode().partition("\n")
            if event == REMOVE:
                self._remove(job_id, member, now)
            else:
                self._end(job_id, now)
                self._connection.zrem(DUE_KEY, member)
        return len(found)

    def _remove(self, job_id: str, member: bytes, now: float) -> None:
        if not self._owned.remove(job_id):
            self._connection.zadd(DUE_KEY, {member: now + RUNNING_AGAIN_S}, xx=True)

    def _end(self, job_id: str, now: float) -> None:
        keys = [record_key(job_id), events_key(job_id)]
        if self._overdue(keys=keys, args=[repr(now), self._ttl_s]) == b"ended":
            values: Any = self._connection.hmget(record_key(job_id), trail.JOB_FIELDS)
            trail.job_ended(values)
