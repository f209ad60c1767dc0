"""Maintenance: heartbeats, redelivery of what dead workers held, stranded jobs, missed cancellations, leases."""

from __future__ import annotations

import time

from redis import Redis

from service.backbone import scripts
from service.backbone.keyspace import maintenance_key
from service.backbone.leases import LeaseSweeper
from service.backbone.ledger import Ledger
from workers.held_jobs import HeldJobs
from workers.rq_adapter import RqAdapter
from workers.warm import WarmRouting

LOCK_S = 5
STRANDED_S = 3.0
"""A job that stays in the intermediate list for so long was dropped by a worker that died."""

GAP_S = 4.0
"""Without a heartbeat for so long, this worker could not write to Redis, and perhaps no worker could."""


class Maintenance:
    """What a worker does every heartbeat, apart from its jobs; for the heartbeat thread."""

    def __init__(
        self, connection: Redis, adapter: RqAdapter, ledger: Ledger, held: HeldJobs, routing: WarmRouting | None
    ) -> None:
        self._connection, self._adapter, self._ledger, self._held = connection, adapter, ledger, held
        self._routing = routing
        self._lock_key = maintenance_key(adapter.queue.name)
        self._stranded_since: dict[str, float] = {}
        self._leases = LeaseSweeper(connection, ledger.record_ttl_s)
        self._rescue = connection.register_script(scripts.rescue())
        self._last_beat_at: float | None = None
        self._waits_until = 0.0

    def beat(self) -> None:
        """Send all heartbeats, look for missed cancellations, and maintain the queue unless another worker does.

        After a gap, maintenance waits: the executions of other workers have expired too, and they must be able to send
        their heartbeats again before their jobs are given to others.
        """
        began_at = time.monotonic()
        if self._last_beat_at is not None and began_at - self._last_beat_at > GAP_S:
            self._waits_until = began_at + GAP_S
        self._adapter.heartbeat()
        self._ledger.beat(self._adapter.name, self._adapter.queue.name)
        if self._routing is not None:
            self._routing.beat()
        for job in self._held.all():
            self._adapter.keep_alive(job.delivery)
        self._last_beat_at = time.monotonic()
        self._find_canceled()
        if self._last_beat_at < self._waits_until:
            return
        if self._connection.set(self._lock_key, self._adapter.name, nx=True, ex=LOCK_S):
            self._adapter.run_maintenance_tasks()
            self._rescue_stranded()
            self._leases.sweep()
            self._connection.delete(self._lock_key)

    def sign_off(self) -> None:
        """Remove this worker from the list of those that take jobs."""
        self._ledger.sign_off(self._adapter.name, self._adapter.queue.name)
        if self._routing is not None:
            self._routing.sign_off()

    def _find_canceled(self) -> None:
        """Cancel held jobs whose cancellation was not received: Redis does not deliver a message a second time."""
        job_ids = [job.job_id for job in self._held.all()]
        for job_id in self._ledger.canceled_among(job_ids) if job_ids else ():
            self._held.request_cancel_of_job(job_id)

    def _rescue_stranded(self) -> None:
        queue = self._adapter.queue
        waiting = queue.intermediate_queue.get_job_ids()
        self._stranded_since = {job_id: self._stranded_since.get(job_id, time.monotonic()) for job_id in waiting}
        for job_id, since in self._stranded_since.items():
            if time.monotonic() - since > STRANDED_S and job_id not in queue.started_job_registry:
                self._rescue(keys=[queue.intermediate_queue.key, queue.key], args=[job_id])
