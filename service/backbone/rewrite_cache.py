"""Prompts that were rewritten before, kept in Redis for a week, so that the same request gets the same words again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

TTL_S = 7 * 24 * 3600
"""How long one is kept after it was last used."""


class RedisRewriteCache:
    """A ``models.language.rewriting.RewriteCache`` that all processes share."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection

    async def get(self, key: str) -> Mapping[str, Any] | None:
        """What was put under ``key``, if it is still there.

        Raises:
            RedisError: Redis is away.
        """
        text: Any = await self._connection.getex(_key(key), ex=TTL_S)
        found = None if text is None else json.loads(text)
        return found if isinstance(found, dict) else None

    async def put(self, key: str, payload: Mapping[str, Any]) -> None:
        """Keep ``payload``, which is JSON-ready, under ``key``; raises as :meth:`get`."""
        await self._connection.set(_key(key), json.dumps(payload), ex=TTL_S)


def _key(key: str) -> str:
    return f"photogram:rewrite:{key}"
