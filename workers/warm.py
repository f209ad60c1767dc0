"""Warm-first routing: a job goes to a worker that has its model loaded, if there is one with room, for a few seconds.

Each worker publishes with its heartbeat which models it has loaded and whether it has room. A worker that popped a job
whose model it would have to load defers the job, once, if another worker has both. A deferred job is claimed by any
worker that has the model loaded, before jobs from the queue. A job that nobody claims in time goes back to the front
of the queue, and then to any worker.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from redis import Redis

from service.backbone import scripts
from service.backbone.keyspace import deferred_key, record_key, rq_intermediate_key, rq_queue_key, worker_status_key
from service.backbone.model_notes import STATUS_TTL_S

DEFER_S = 3.0
"""How long a deferred job waits for a worker that has its model."""
STATUS_KEPT_S = 60.0
"""The status of a worker that was not renewed for so long is deleted: the worker died without signing off."""


@dataclass(frozen=True)
class WorkerStatus:
    """What a worker publishes about itself."""

    loaded: Collection[str]
    """The names of the models that it has loaded."""
    has_room: bool
    """Whether it would take another job now."""
    device: str = ""
    """The device that it runs models on, for people; workers do not read it."""


class WarmRouting:
    """One worker's part in the routing of one queue; safe to use from several threads."""

    def __init__(self, connection: Redis, name: str, queue: str, status: Callable[[], WorkerStatus]) -> None:
        self._connection, self._name, self._status = connection, name, status
        self._status_key, self._deferred_key = worker_status_key(queue), deferred_key(queue)
        self._queue_key, self._intermediate_key = rq_queue_key(queue), rq_intermediate_key(queue)
        self._peers: dict[str, WorkerStatus] = {}
        self._defer = connection.register_script(scripts.defer())
        self._claim = connection.register_script(scripts.claim())
        self._requeue_deferred = connection.register_script(scripts.requeue_deferred())

    def beat(self) -> None:
        """Publish this worker's status, read those of its peers, and requeue jobs that were deferred for too long."""
        own, now = self._status(), time.time()
        published = {"loaded": sorted(own.loaded), "has_room": own.has_room, "device": own.device, "at": now}
        self._connection.hset(self._status_key, self._name, json.dumps(published))
        self._peers = self._read_peers(now)
        self._requeue_deferred(keys=[self._deferred_key, self._queue_key], args=[now - DEFER_S])

    def _read_peers(self, now: float) -> dict[str, WorkerStatus]:
        """The peers that can be relied on; the statuses of dead workers are deleted."""
        peers, dead = {}, []
        statuses: Any = self._connection.hgetall(self._status_key)
        for name, text in statuses.items():
            status = json.loads(text)
            age_s = now - status["at"]
            if age_s > STATUS_KEPT_S:
                dead.append(name)
            elif name.decode() != self._name and age_s <= STATUS_TTL_S:
                peers[name.decode()] = WorkerStatus(frozenset(status["loaded"]), status["has_room"])
        if dead:
            self._connection.hdel(self._status_key, *dead)
        return peers

    @property
    def has_peers(self) -> bool:
        """Whether other workers serve the queue."""
        return bool(self._peers)

    def sign_off(self) -> None:
        """Delete this worker's status."""
        self._connection.hdel(self._status_key, self._name)

    def claim(self) -> str | None:
        """Move the oldest deferred job whose model is loaded here to the intermediate list, and return its id."""
        if not self.has_peers:
            return None
        loaded = dict.fromkeys(self._status().loaded, 1)
        if not loaded:
            return None
        found: Any = self._claim(keys=[self._deferred_key, self._intermediate_key], args=[json.dumps(loaded)])
        return found.decode() if found else None

    def defer(self, job_id: str, model: str) -> bool:
        """Leave a popped job to a peer that has its model and room, if there is one; returns whether it was left."""
        if model in self._status().loaded:
            return False
        if not any(model in peer.loaded and peer.has_room for peer in self._peers.values()):
            return False
        keys = [self._intermediate_key, self._deferred_key, record_key(job_id)]
        return bool(self._defer(keys=keys, args=[job_id, model, time.time()]))
