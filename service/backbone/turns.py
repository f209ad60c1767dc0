"""Whose job a worker takes next: fair queueing between API keys, and priorities among the jobs of one key.

Jobs wait for their turn in sorted sets, one for each key (``scripts/turns.lua``). RQ's own list has only jobs that any
worker takes at once: the one that came while no other waited, and those that are delivered again.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from redis import Redis

from models.jobs.params import PRIORITY_MAX, JobParams
from service.backbone import scripts
from service.backbone.keyspace import rq_intermediate_key, rq_queue_key

PRIORITY_S = 600.0
"""A job of a higher priority goes before jobs of the same key that are older by up to so many seconds per level. As the
difference is fixed, a job only waits for jobs of a higher priority that came within that time after it."""
CHARGE_MIN_PX = 100_000
"""The least work, in pixels times steps, that a job is charged with: preparing and storing one takes time too."""


def rank(params: JobParams, arrived_at: float) -> float:
    """The place of a job among those of its key; the lowest goes first.

    Args:
        arrived_at: in seconds since the epoch.
    """
    priority: object = params.priority  # the parameters of other packages' kinds may leave it open
    level = priority if isinstance(priority, int) else 0
    return arrived_at - min(max(level, -PRIORITY_MAX), PRIORITY_MAX) * PRIORITY_S


def charge(step_px: int, weight: int) -> float:
    """By how much a job of so much work, in pixels times steps, moves on the virtual time of a key of this weight."""
    return max(step_px, CHARGE_MIN_PX) / weight


class Turns:
    """The jobs that wait in one queue, as a worker takes them; safe to use from several threads."""

    def __init__(self, connection: Redis, queue: str) -> None:
        self._connection, self._queue = connection, queue
        self._list_key, self._intermediate_key = rq_queue_key(queue), rq_intermediate_key(queue)
        self._take = connection.register_script(scripts.take())
        self._release = connection.register_script(scripts.release())

    def take(self, passed_over: Collection[str] = ()) -> str | None:
        """Move the next job to RQ's intermediate list, where a crash cannot lose it, and return its id.

        Args:
            passed_over: owners. If the next job belongs to one of them, none is taken.
        """
        owners = json.dumps(dict.fromkeys(passed_over, 1))
        found: Any = self._take(keys=[self._list_key, self._intermediate_key], args=[self._queue, owners])
        return None if found is None else str(found.decode())

    def wait(self, timeout_s: float) -> str | None:
        """As :meth:`take`, but for the next job that comes within ``timeout_s`` while none waits."""
        found: Any = self._connection.blmove(self._list_key, self._intermediate_key, timeout_s)  # type: ignore[arg-type]
        if found is None:
            return None
        self._release(keys=[self._list_key], args=[self._queue])  # another worker may wait for RQ's list as well
        return str(found.decode())
