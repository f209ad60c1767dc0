"""How many jobs each queue has, and which workers take jobs from it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from redis.asyncio import Redis

from service.backbone.keyspace import (
    deferred_key,
    fetches_key,
    rq_queue_key,
    rq_started_key,
    waiting_key,
    workers_key,
)

WORKER_SILENCE_S = 10.0
"""A worker that sent no heartbeat for so long counts as gone."""


@dataclass(frozen=True)
class QueueCount:
    """One queue at one moment."""

    waiting: int
    """Jobs that no worker has taken yet."""
    running: int
    """Jobs that workers have taken."""
    workers: tuple[str, ...]
    """The names of the workers that take jobs from it now."""


class Queues:
    """Counts jobs and workers, for one gateway process."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection

    async def count(self, queues: Iterable[str]) -> dict[str, QueueCount]:
        """The counts of ``queues`` by their names, in one round trip."""
        names, since = list(queues), time.time() - WORKER_SILENCE_S
        async with self._connection.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.llen(rq_queue_key(name))
                pipeline.hlen(waiting_key(name))
                pipeline.zcard(fetches_key(name))
                pipeline.zcard(deferred_key(name))
                pipeline.zcard(rq_started_key(name))
                pipeline.zrangebyscore(workers_key(name), since, "+inf")
            found = await pipeline.execute()
        rows = [found[at : at + 6] for at in range(0, len(found), 6)]
        return {
            name: QueueCount(sum(waiting), running, tuple(worker.decode() for worker in workers))
            for name, (*waiting, running, workers) in zip(names, rows, strict=True)
        }
