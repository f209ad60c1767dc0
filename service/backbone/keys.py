"""API keys: their creation, their hashes in Redis, and the check of a request's key."""

from __future__ import annotations

import hashlib
import json
import secrets
import time

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from service.backbone import scripts
from service.backbone.keyspace import API_KEYS_KEY

_CACHE_TTL_S = 5.0
_CACHE_MAX = 10_000


KEY_CHARS_MIN = 12
KEY_DIFFERENT_CHARS_MIN = 6


def key_problem(key: str) -> str | None:
    """Why ``key`` would be too easy to guess, or ``None``; it completes a sentence that begins with the key's name."""
    if len(key) >= KEY_CHARS_MIN and len(set(key)) >= KEY_DIFFERENT_CHARS_MIN:
        return None
    return (
        f"must have at least {KEY_CHARS_MIN} characters, and {KEY_DIFFERENT_CHARS_MIN} different ones, so that nobody"
        ' can guess it; `python -c "import secrets; print(secrets.token_urlsafe(32))"` prints a good one'
    )


def _description(name: str) -> str:
    return json.dumps({"name": name, "created_at": time.time()})


def make_key() -> str:
    """A new API key: 43 letters, digits, ``-`` and ``_`` that hold 256 random bits."""
    return secrets.token_urlsafe(32)


def owner_id(key: str) -> str:
    """The id of ``key`` in records: the first 16 hex digits of its SHA-256, from which the key cannot be recovered."""
    return _hash(key)[:16]


def _hash(key: str) -> str:
    # Keys hold 256 random bits, unlike passwords: nobody can search a plain hash of them by trial.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def add_key(connection: Redis, key: str, name: str) -> None:
    """Accept ``key`` from now on; only its hash is stored."""
    connection.hsetnx(API_KEYS_KEY, _hash(key), _description(name))


def has_keys(connection: Redis, key: str | None) -> bool:
    """Whether ``key`` is accepted already; without one, whether there is any key."""
    return bool(connection.hlen(API_KEYS_KEY) if key is None else connection.hexists(API_KEYS_KEY, _hash(key)))


def bootstrap_key(connection: Redis, key: str | None) -> str | None:
    """Make sure that there is an API key: add ``key``, or else a new one unless there is any.

    Returns:
        The new key, which cannot be read again later; ``None`` if none was made.
    """
    if key is not None:
        add_key(connection, key, "bootstrap")
        return None
    made = make_key()
    is_first = connection.eval(scripts.add_first_key(), 1, API_KEYS_KEY, _hash(made), _description("bootstrap"))
    return made if is_first else None


class KeyRing:
    """Checks keys; a valid key is cached for five seconds."""

    def __init__(self, connection: AsyncRedis) -> None:
        self._connection = connection
        self._valid_until: dict[str, float] = {}

    async def owner(self, key: str) -> str | None:
        """The owner id of ``key``, or ``None`` if the key is not valid."""
        hashed, now = _hash(key), time.monotonic()
        if self._valid_until.get(hashed, 0.0) < now:
            if not await self._connection.hexists(API_KEYS_KEY, hashed):
                return None
            if len(self._valid_until) >= _CACHE_MAX:
                self._valid_until.clear()
            self._valid_until[hashed] = now + _CACHE_TTL_S
        return owner_id(key)
