"""Connections to Redis, with the timeouts, pool sizes and client names of Photogram.

A URL is one of redis-py's, or names Sentinels, which say what server is the primary (``service.backbone.redis_urls``).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.sentinel import Sentinel

from service.backbone.keyspace import WRITE_PROBE_KEY, WRITE_PROBE_TTL_S
from service.backbone.redis_urls import read_sentinels

log = logging.getLogger(__name__)

_SOCKET_TIMEOUT_S = 15.0
_CONNECT_TIMEOUT_S = 5.0
_POOL_MAX = 64
_POOL_WAIT_S = 20
_WRITABLE_POLL_S = 0.5
_REPLICAS_WAIT_S = 2.0
_PROBE_VALID_S = 2.0
_REFUSALS = {
    "OOM": "its memory is full",
    "MISCONF": "it cannot write to its disk",
    "READONLY": "it is a read-only replica",
    "NOREPLICAS": "it has too few replicas",
    "MASTERDOWN": "it has lost its primary",
    "CLUSTERDOWN": "its cluster is down",
    "TRYAGAIN": "its cluster is being reorganised",
    "BUSY": "it runs a script that does not end",
}
"""Why writes are refused, in words, by the code of the error."""
_SENTINEL_OPTIONS: dict[str, Any] = {
    "sentinel_kwargs": {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry": None}
}
"""A Sentinel that does not answer soon is passed over, since the others know the same."""
_REFUSAL = re.compile(rf"""(?:^|: |-|\(['"])({"|".join(_REFUSALS)})\b""")


def connect(url: str, name: str) -> Redis:
    """A synchronous client, safe to use from several threads."""
    options: dict[str, Any] = {
        "socket_timeout": _SOCKET_TIMEOUT_S, "socket_connect_timeout": _CONNECT_TIMEOUT_S, "client_name": name,
    }  # fmt: skip
    if (sentinels := read_sentinels(url)) is None:
        return Redis.from_url(url, **options)
    asked = Sentinel(sentinels.addresses, **_SENTINEL_OPTIONS)
    client: Redis = asked.master_for(sentinels.service, **sentinels.server, **options)
    return client


def connect_async(url: str, name: str) -> AsyncRedis:
    """As :func:`connect`, for asyncio; when all connections are busy, callers wait for one instead of failing."""
    options: dict[str, Any] = {
        "max_connections": _POOL_MAX, "timeout": _POOL_WAIT_S, "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "client_name": name,
    }  # fmt: skip
    if (sentinels := read_sentinels(url)) is None:
        return AsyncRedis(connection_pool=BlockingConnectionPool.from_url(url, **options))
    asked, options = AsyncSentinel(sentinels.addresses, **_SENTINEL_OPTIONS), options | sentinels.server
    pool_class = _BlockingSentinelPool
    client: AsyncRedis = asked.master_for(sentinels.service, connection_pool_class=pool_class, **options)
    return client


class _BlockingSentinelPool(AsyncSentinelConnectionPool, BlockingConnectionPool):
    """Asks the Sentinels for the primary, and lets callers wait for a connection."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections, and those to the Sentinels unless only idle connections are to be closed."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


def write_refusal(error: Exception) -> str | None:
    """Why Redis accepts no writes for now, if that is what ``error`` says; nothing was written then.

    Errors of a transaction or a script name the code after the command that caused them.
    """
    for kind, reason in ((OutOfMemoryError, "OOM"), (ReadOnlyError, "READONLY")):  # their messages lack the code
        if isinstance(error, kind):
            return _REFUSALS[reason]
    found = _REFUSAL.search(str(error)) if isinstance(error, ResponseError) else None
    return None if found is None else _REFUSALS[found[1]]


def wait_until_writable(connection: Redis, is_hopeless: Callable[[], bool] = lambda: False) -> None:
    """Return when Redis accepts writes, for example once its disk has space again; the wait is logged once.

    Raises:
        RedisError: Redis cannot be reached, or refuses for another reason.
        TimeoutError: ``is_hopeless`` returned ``True``.
    """
    is_logged = False
    while True:
        try:
            connection.set(WRITE_PROBE_KEY, "1", ex=WRITE_PROBE_TTL_S)
            return
        except RedisError as error:
            reason = write_refusal(error)
            if reason is None:
                raise
            if not is_logged:
                log.error("waiting, because Redis accepts no writes: %s", reason)
                is_logged = True
            if is_hopeless():
                raise TimeoutError(f"Redis accepts no writes: {reason}") from error
            time.sleep(_WRITABLE_POLL_S)


async def require_replicas(connection: AsyncRedis, replicas: int, key: str) -> None:
    """Return when so many replicas have what was written before, ``key`` among it; at once if none are asked for.

    ``WAIT`` counts the replicas that have the last write of its own connection, hence the write before it. The key is
    looked for, because another server may have become the primary since it was written.

    Raises:
        ResponseError: fewer replicas have it after 2 s; :func:`write_refusal` knows the error.
        RedisError: Redis cannot be reached.
    """
    if replicas == 0:
        return
    async with connection.pipeline(transaction=False) as pipeline:
        pipeline.set(WRITE_PROBE_KEY, "1", ex=WRITE_PROBE_TTL_S)
        pipeline.wait(replicas, int(_REPLICAS_WAIT_S * 1000))
        pipeline.exists(key)
        _, reached, is_there = await pipeline.execute()
    if reached < replicas or not is_there:
        raise ResponseError(f"NOREPLICAS {reached} of {replicas} replicas have what was written")


class WriteProbe:
    """Whether Redis accepts writes, for one gateway process; the answer holds for two seconds."""

    def __init__(self, connection: AsyncRedis) -> None:
        self._connection = connection
        self._refusal: str | None = None
        self._valid_until = float("-inf")

    async def refusal(self) -> str | None:
        """Why Redis accepts no writes, or ``None``; raises :class:`RedisError` if it cannot be reached."""
        if self._valid_until < time.monotonic():
            try:
                await self._connection.set(WRITE_PROBE_KEY, "1", ex=WRITE_PROBE_TTL_S)
                self._refusal = None
            except RedisError as error:
                self._refusal = write_refusal(error)
                if self._refusal is None:
                    raise
            self._valid_until = time.monotonic() + _PROBE_VALID_S
        return self._refusal


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
            if str(error).startswith("MISCONF"):  # it answers: while its disk is full, it refuses PING like a write
                return
            if time.monotonic() > deadline or is_hopeless():
                raise TimeoutError(f"Redis does not answer: {error}") from error
            time.sleep(0.05)
