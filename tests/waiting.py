"""The jobs that wait in a queue, wherever they do."""

from __future__ import annotations

from typing import Any

from redis import Redis

from models.jobs.kinds import DIFFUSION_QUEUE
from service.backbone.keyspace import owner_waiting_key, rq_queue_key, turns_key


def waiting_jobs(redis: Redis, queue: str = DIFFUSION_QUEUE) -> list[str]:
    """The ids in RQ's list, then those that wait for their turn, each owner's in their order."""
    found: Any = redis.lrange(rq_queue_key(queue), 0, -1)
    owners: Any = redis.zrange(turns_key(queue), 0, -1)
    for owner in owners:
        own: Any = redis.zrange(owner_waiting_key(owner.decode(), queue), 0, -1)
        found += own
    return [job_id.decode() for job_id in found]
