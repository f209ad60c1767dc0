"""The deadlines of jobs, which end them also if there is no worker.

Every gateway looks once a second; a deadline that two of them handle has the same effect as if one did.
"""

from __future__ import annotations

import time
from typing import Any

from redis import Redis

from service.backbone import scripts, trail
from service.backbone.keyspace import DUE_KEY, events_key, record_key

SWEPT_MAX = 500
"""How many deadlines one sweep handles."""


class DueJobs:
    """Handles the deadlines whose time has come; its methods block."""

    def __init__(self, connection: Redis, record_ttl_s: int) -> None:
        self._connection, self._ttl_s = connection, record_ttl_s
        self._overdue = connection.register_script(scripts.overdue())

    def sweep(self, now: float | None = None) -> int:
        """Handle what is due at ``now``, in seconds since the epoch; returns how many deadlines that were."""
        now = time.time() if now is None else now
        found: Any = self._connection.zrangebyscore(DUE_KEY, "-inf", now, start=0, num=SWEPT_MAX)
        for member in found:
            _, _, job_id = member.decode().partition("\n")
            self._end(job_id, now)
            self._connection.zrem(DUE_KEY, member)
        return len(found)

    def _end(self, job_id: str, now: float) -> None:
        keys = [record_key(job_id), events_key(job_id)]
        if self._overdue(keys=keys, args=[repr(now), self._ttl_s]) == b"ended":
            values: Any = self._connection.hmget(record_key(job_id), trail.JOB_FIELDS)
            trail.job_ended(values)
