"""API keys as text: how they are made and hashed, the first key of a server, and the check of a request's key."""

from __future__ import annotations

import hashlib
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from models.errors import PhotogramError
from service.backbone import scripts
from service.backbone.key_records import OWNER_ID_CHARS, KeyRecord, Secret, full_record
from service.backbone.keyspace import API_KEYS_KEY, KEY_RECORDS_KEY, KEYS_USED_KEY

_CACHE_TTL_S = 4.0
"""How long a key is accepted without a look at Redis; with the time of a request, a revoked key ends within 5 s."""
_CACHE_MAX = 10_000
_USED_EVERY_S = 60.0
"""How often the last use of a key is written, at most."""

KEY_CHARS_MIN = 12
KEY_DIFFERENT_CHARS_MIN = 6


class KeyRefused(PhotogramError):
    """The key of a request is not accepted; the message says why."""


def key_problem(key: str) -> str | None:
    """Why ``key`` would be too easy to guess, or ``None``; it completes a sentence that begins with the key's name."""
    if len(key) >= KEY_CHARS_MIN and len(set(key)) >= KEY_DIFFERENT_CHARS_MIN:
        return None
    return (
        f"must have at least {KEY_CHARS_MIN} characters, and {KEY_DIFFERENT_CHARS_MIN} different ones, so that nobody"
        ' can guess it; `python -c "import secrets; print(secrets.token_urlsafe(32))"` prints a good one'
    )


def make_key_id() -> str:
    """A new id of a key: 8 hex digits."""
    return secrets.token_hex(4)


def make_key(key_id: str | None = None) -> str:
    """A new API key: 256 random bits in 43 letters, digits, ``-`` and ``_``, after ``pg_``, its id and ``_``."""
    return f"pg_{key_id or make_key_id()}_{secrets.token_urlsafe(32)}"


def owner_id(key: str) -> str:
    """The id of a key that somebody chose: the first 16 hex digits of its SHA-256, which do not give the key away."""
    return key_digest(key)[:OWNER_ID_CHARS]


def key_digest(key: str) -> str:
    """The SHA-256 of ``key``, which is what is stored."""
    # Keys hold 256 random bits, unlike passwords: nobody can search a plain hash of them by trial.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def add_key(connection: Redis, key: str, name: str) -> None:
    """Accept ``key``, with all scopes, from now on; only its hash is stored. A key that is known stays as it is."""
    record = full_record(owner_id(key), name, time.time())
    with connection.pipeline() as transaction:
        transaction.hsetnx(API_KEYS_KEY, key_digest(key), Secret(record.key_id).to_json())
        transaction.hsetnx(KEY_RECORDS_KEY, record.key_id, record.to_json())
        transaction.execute()


def has_keys(connection: Redis, key: str | None) -> bool:
    """Whether ``key`` is known already; without one, whether there is any key."""
    return bool(connection.hlen(API_KEYS_KEY) if key is None else connection.hexists(API_KEYS_KEY, key_digest(key)))


def bootstrap_key(connection: Redis, key: str | None) -> str | None:
    """Make sure that there is an API key: add ``key``, or else a new one unless there is any.

    Returns:
        The new key, which cannot be read again later; ``None`` if none was made.
    """
    if key is not None:
        add_key(connection, key, "bootstrap")
        return None
    key_id = make_key_id()
    made, record = make_key(key_id), full_record(key_id, "bootstrap", time.time())
    arguments = [key_digest(made), Secret(key_id).to_json(), key_id, record.to_json()]
    is_first = connection.eval(scripts.add_first_key(), 2, API_KEYS_KEY, KEY_RECORDS_KEY, *arguments)
    return made if is_first else None


@dataclass(frozen=True)
class _Known:
    """A secret and its key, as they were read."""

    record: KeyRecord
    until: float | None
    good_until: float
    """The time of the monotonic clock until which they are not read again."""


class KeyRing:
    """Checks keys for one gateway process; a valid key is cached for four seconds."""

    def __init__(self, connection: AsyncRedis) -> None:
        self._connection = connection
        self._known: dict[str, _Known] = {}

    async def holder(self, key: str) -> KeyRecord:
        """The record of ``key``; raises :class:`KeyRefused`."""
        digest = key_digest(key)
        known = self._known.get(digest)
        if known is None or known.good_until < time.monotonic():
            self._known.pop(digest, None)
            known = await self._read(digest)
            if len(self._known) >= _CACHE_MAX:
                self._known.clear()
            self._known[digest] = known
        now = time.time()
        if known.until is not None and known.until <= now:
            raise KeyRefused("this API key has been replaced by a newer one")
        if problem := known.record.problem(now):
            raise KeyRefused(f"this API key {problem}")
        return known.record

    async def _read(self, digest: str) -> _Known:
        good_until = time.monotonic() + _CACHE_TTL_S
        text: Any = await self._connection.hget(API_KEYS_KEY, digest)
        if text is None:
            raise KeyRefused("this API key is not known")
        secret = Secret.from_json(digest, text)
        async with self._connection.pipeline() as pipeline:
            pipeline.hget(KEY_RECORDS_KEY, secret.key_id)
            pipeline.hget(KEYS_USED_KEY, secret.key_id)
            stored, used_at = await pipeline.execute()
        record = secret.original if stored is None else KeyRecord.from_json(stored)
        if record is None:
            raise KeyRefused("this API key is not known")
        await self._note_use(secret.key_id, float(used_at or 0))
        return _Known(record, secret.until, good_until)

    async def _note_use(self, key_id: str, used_at: float) -> None:
        now = time.time()
        if now - used_at >= _USED_EVERY_S:
            with suppress(RedisError):  # a key works also while Redis accepts no writes
                await self._connection.hset(KEYS_USED_KEY, key_id, repr(now))
