"""API keys: made here, kept as hashes in Redis, checked by the gateway."""

from __future__ import annotations

import hashlib
import json
import secrets
import time

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

KEYS_KEY = "photogram:keys"
_REMEMBERED_S = 5.0
_REMEMBERED_MAX = 10_000


_ADD_FIRST = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
"""


def _description(name: str) -> str:
    return json.dumps({"name": name, "created_at": time.time()})


def make_key() -> str:
    """A fresh API key: 43 letters, digits, ``-`` and ``_``, 256 bits of chance."""
    return secrets.token_urlsafe(32)


def owner_id(key: str) -> str:
    """What stands for ``key`` in records: the start of its hash, from which it cannot be found."""
    return _hash(key)[:16]


def _hash(key: str) -> str:
    # Keys are 256 random bits, not passwords: a plain hash cannot be searched.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def add_key(connection: Redis, key: str, name: str) -> None:
    """Let ``key`` in from now on; only its hash is kept."""
    connection.hsetnx(KEYS_KEY, _hash(key), _description(name))


def bootstrap_key(connection: Redis, wanted: str | None) -> str | None:
    """See to it that there is a first key: ``wanted``, or a new one, given back this once, if there is none at all."""
    if wanted is not None:
        add_key(connection, wanted, "bootstrap")
        return None
    made = make_key()
    is_first = connection.eval(_ADD_FIRST, 1, KEYS_KEY, _hash(made), _description("bootstrap"))
    return made if is_first else None


class KeyRing:
    """Tells good keys from bad ones; a good one is remembered for five seconds."""

    def __init__(self, connection: AsyncRedis) -> None:
        self._connection = connection
        self._good_until: dict[str, float] = {}

    async def owner(self, key: str) -> str | None:
        """The owner id of ``key``, or ``None`` if nobody may enter with it."""
        hashed, now = _hash(key), time.monotonic()
        if self._good_until.get(hashed, 0.0) < now:
            if not await self._connection.hexists(KEYS_KEY, hashed):
                return None
            if len(self._good_until) >= _REMEMBERED_MAX:
                self._good_until.clear()
            self._good_until[hashed] = now + _REMEMBERED_S
        return owner_id(key)
