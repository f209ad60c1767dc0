"""How the processes reach Redis: one place for timeouts, pools and names."""

from __future__ import annotations

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis

_SOCKET_TIMEOUT_S = 15.0
_POOL_MAX = 64


def connect(url: str, name: str) -> Redis:
    """A thread-safe synchronous client."""
    return Redis.from_url(url, socket_timeout=_SOCKET_TIMEOUT_S, socket_connect_timeout=5.0, client_name=name)


def connect_async(url: str, name: str) -> AsyncRedis:
    """An asyncio client whose callers queue for connections instead of failing under load."""
    pool = BlockingConnectionPool.from_url(
        url, max_connections=_POOL_MAX, timeout=20, socket_connect_timeout=5.0, client_name=name
    )
    return AsyncRedis(connection_pool=pool)
