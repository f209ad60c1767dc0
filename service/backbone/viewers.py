"""Viewers: gateways say which jobs somebody watches, so that workers make previews of these jobs only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.backbone.keyspace import watched_key

WATCHED_S = 20.0
"""How long a job counts as watched after a client asked for its preview, or its stream was last known to be open."""
RENEW_S = 5.0

log = logging.getLogger(__name__)


class Viewers:
    """Notes which jobs the clients of one gateway process watch; a worker learns it when it reports progress."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection

    async def note(self, *job_ids: str) -> None:
        """Let the jobs count as watched for :data:`WATCHED_S`; without Redis they have no previews, and go on."""
        try:
            async with self._connection.pipeline(transaction=False) as pipeline:
                for job_id in job_ids:
                    pipeline.set(watched_key(job_id), "1", px=int(WATCHED_S * 1000))
                await pipeline.execute()
        except RedisError as error:
            log.warning("that %d jobs are watched was not noted: %s", len(job_ids), error)

    @asynccontextmanager
    async def watching(self, job_ids: Sequence[str]) -> AsyncIterator[None]:
        """Let the jobs count as watched during the block, and a little longer."""
        await self.note(*job_ids)
        renewal = asyncio.create_task(self._note_regularly(job_ids))
        try:
            yield
        finally:
            renewal.cancel()

    async def _note_regularly(self, job_ids: Sequence[str]) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            await self.note(*job_ids)
