"""The cache of rewritten prompts in Redis, so that a repeated request gets the same prompt again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from service.backbone.keyspace import rewrite_key

TTL_S = 7 * 24 * 3600
"""How long an entry is kept after its last use."""


class RedisRewriteCache:
    """Implements ``models.language.rewriting.RewriteCache`` for all processes together."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection

    async def get(self, key: str) -> Mapping[str, Any] | None:
        """The entry of ``key``, or ``None``.

        Raises:
            RedisError: Redis cannot be reached.
        """
        text: Any = await self._connection.getex(rewrite_key(key), ex=TTL_S)
        found = None if text is None else json.loads(text)
        return found if isinstance(found, dict) else None

    async def put(self, key: str, payload: Mapping[str, Any]) -> None:
        """Store ``payload``, which must be JSON-ready, under ``key``; raises as :meth:`get`."""
        await self._connection.set(rewrite_key(key), json.dumps(payload), ex=TTL_S)
