"""Connections to Redis, with the timeouts, pool sizes and client names of Photogram."""

from __future__ import annotations

import time
from collections.abc import Callable

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

_SOCKET_TIMEOUT_S = 15.0
_POOL_MAX = 64


def connect(url: str, name: str) -> Redis:
    """A synchronous client, safe to use from several threads."""
    return Redis.from_url(url, socket_timeout=_SOCKET_TIMEOUT_S, socket_connect_timeout=5.0, client_name=name)


def connect_async(url: str, name: str) -> AsyncRedis:
    """An asyncio client; when all connections are busy, callers wait for one instead of failing."""
    pool = BlockingConnectionPool.from_url(
        url, max_connections=_POOL_MAX, timeout=20, socket_connect_timeout=5.0, client_name=name
    )
    return AsyncRedis(connection_pool=pool)


def wait_for_redis(connection: Redis, timeout_s: float, is_hopeless: Callable[[], bool] = lambda: False) -> None:
    """Return when the server answers and has loaded its data.

    Raises:
        TimeoutError: the server did not answer within ``timeout_s``, or ``is_hopeless`` returned ``True``.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.ping()
            return
        except (RedisConnectionError, ResponseError, OSError) as error:
            if time.monotonic() > deadline or is_hopeless():
                raise TimeoutError(f"Redis does not answer: {error}") from error
            time.sleep(0.05)
