"""Leases of jobs that end with their caller: a gateway renews them while the caller waits, workers cancel the others.

A job without a lease, such as every job that a client polls for, is not affected.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from service.backbone import scripts, trail
from service.backbone.keyspace import LEASES_KEY, events_key, record_key

LEASE_S = 15.0
"""How long a job may go on after its gateway was last heard of."""
RENEW_S = 3.0
_SWEPT_MAX = 1000
"""How many expired leases one sweep handles."""

log = logging.getLogger(__name__)


class Leases:
    """Renews the leases of the calls that one gateway process serves."""

    def __init__(self, connection: AsyncRedis) -> None:
        self._connection = connection

    @asynccontextmanager
    async def renewing(self, job_ids: Sequence[str]) -> AsyncIterator[None]:
        """Keep the leases of the jobs during the block, and remove them after it."""
        renewal = asyncio.create_task(self._renew_regularly(job_ids))
        try:
            yield
        finally:
            renewal.cancel()
            with suppress(RedisError):  # then a worker removes them when they expire
                await asyncio.shield(self._connection.zrem(LEASES_KEY, *job_ids))

    async def _renew_regularly(self, job_ids: Sequence[str]) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                # "XX": a lease that a worker removed is not made again, since its job is canceled.
                await self._connection.zadd(LEASES_KEY, dict.fromkeys(job_ids, time.time() + LEASE_S), xx=True)
            except RedisError as error:
                log.warning("the leases of %d jobs were not renewed: %s", len(job_ids), error)


class LeaseSweeper:
    """Cancels the jobs whose leases expired, for one worker.

    A lease must be found expired by two sweeps in a row: after Redis or the machine stood still, gateways get the time
    between them to renew the leases of callers that still wait.
    """

    def __init__(self, connection: Redis, record_ttl_s: int) -> None:
        self._connection, self._ttl_s = connection, record_ttl_s
        self._cancel = connection.register_script(scripts.cancel())
        self._seen: set[bytes] = set()

    def sweep(self) -> None:
        """Cancel what two sweeps have found."""
        found: Any = self._connection.zrangebyscore(LEASES_KEY, 0, time.time(), start=0, num=_SWEPT_MAX)
        expired: set[bytes] = set(found)
        for job_id in expired & self._seen:
            self._end(job_id.decode())
        self._seen = expired - self._seen

    def _end(self, job_id: str) -> None:
        keys = [record_key(job_id), events_key(job_id)]
        verdict = self._cancel(keys=keys, args=[repr(time.time()), self._ttl_s])
        self._connection.zrem(LEASES_KEY, job_id)
        if verdict in (b"ended", b"requested"):
            log.info("job %s is canceled: the gateway that waited for it is gone", job_id)
        if verdict == b"ended":
            values: Any = self._connection.hmget(record_key(job_id), trail.JOB_FIELDS)
            trail.job_ended(values)
