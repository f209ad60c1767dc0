"""Connections to Redis, with the timeouts, pool sizes and client names of Photogram."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from service.backbone.keyspace import WRITE_PROBE_KEY, WRITE_PROBE_TTL_S

log = logging.getLogger(__name__)

_SOCKET_TIMEOUT_S = 15.0
_POOL_MAX = 64
_WRITABLE_POLL_S = 0.5
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
_REFUSAL = re.compile(rf"""(?:^|: |-|\(['"])({"|".join(_REFUSALS)})\b""")


def connect(url: str, name: str) -> Redis:
    """A synchronous client, safe to use from several threads."""
    return Redis.from_url(url, socket_timeout=_SOCKET_TIMEOUT_S, socket_connect_timeout=5.0, client_name=name)


def connect_async(url: str, name: str) -> AsyncRedis:
    """An asyncio client; when all connections are busy, callers wait for one instead of failing."""
    pool = BlockingConnectionPool.from_url(
        url, max_connections=_POOL_MAX, timeout=20, socket_connect_timeout=5.0, client_name=name
    )
    return AsyncRedis(connection_pool=pool)


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
            if time.monotonic() > deadline or is_hopeless():
                raise TimeoutError(f"Redis does not answer: {error}") from error
            time.sleep(0.05)
