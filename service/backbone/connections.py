"""How the processes reach Redis: one place for timeouts, pools and names."""

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
    """A thread-safe synchronous client."""
    return Redis.from_url(url, socket_timeout=_SOCKET_TIMEOUT_S, socket_connect_timeout=5.0, client_name=name)


def connect_async(url: str, name: str) -> AsyncRedis:
    """An asyncio client whose callers queue for connections instead of failing under load."""
    pool = BlockingConnectionPool.from_url(
        url, max_connections=_POOL_MAX, timeout=20, socket_connect_timeout=5.0, client_name=name
    )
    return AsyncRedis(connection_pool=pool)


def wait_for_redis(connection: Redis, timeout_s: float, is_hopeless: Callable[[], bool] = lambda: False) -> None:
    """Return once the server answers and has read its files.

    Raises:
        TimeoutError: it did not within ``timeout_s``, or ``is_hopeless`` said that it never will.
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
