"""The preferences of each API key: the defaults of its requests, stored in Redis."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from redis.asyncio import Redis

from models.jobs.params import FULL
from service.backbone.keyspace import preferences_key

_CACHE_TTL_S = 5.0
_CACHE_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class PreferenceValues:
    """The preferences of one key; the defaults hold where the key set none."""

    enhance_prompt: bool = False
    """Whether the language model rewrites prompts before they are drawn."""
    enhance_negative_prompt: bool = False
    """Whether the language model writes a negative prompt too."""
    metadata: str = FULL
    """What files of images say of how they were generated, one of ``models.jobs.params.METADATA``."""
    provenance: str | None = None
    """How images are marked, one of ``models.jobs.params.PROVENANCE``; ``None`` is as the server's setting says."""


_NAMES = tuple(field.name for field in fields(PreferenceValues))
_TEXTS = ("metadata", "provenance")


class Preferences:
    """Reads and writes preferences for one gateway process, with a cache of five seconds."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection
        self._cached: dict[str, tuple[float, PreferenceValues]] = {}

    async def get(self, owner: str) -> PreferenceValues:
        """The preferences of the key; a change by another process is seen within five seconds."""
        good_until, values = self._cached.get(owner, (0.0, PreferenceValues()))
        return await self._read(owner) if good_until < time.monotonic() else values

    async def change(self, owner: str, changes: Mapping[str, bool | str | None]) -> PreferenceValues:
        """Set some preferences by name, ``None`` restoring the default; returns all preferences of the key."""
        removed = [name for name, value in changes.items() if value is None]
        kept = [part for name, value in changes.items() if value is not None for part in (name, _stored(value))]
        async with self._connection.pipeline() as transaction:
            if removed:
                transaction.hdel(preferences_key(owner), *removed)
            if kept:
                transaction.hset(preferences_key(owner), items=kept)
            await transaction.execute()
        return await self._read(owner)

    async def _read(self, owner: str) -> PreferenceValues:
        found: Any = await self._connection.hmget(preferences_key(owner), _NAMES)
        given = {name: _read(name, value) for name, value in zip(_NAMES, found, strict=True) if value is not None}
        values = PreferenceValues(**given)
        if len(self._cached) >= _CACHE_MAX:
            self._cached.clear()
        self._cached[owner] = time.monotonic() + _CACHE_TTL_S, values
        return values


def _stored(value: bool | str) -> str | int:
    return int(value) if isinstance(value, bool) else value


def _read(name: str, stored: bytes) -> Any:
    return stored.decode() if name in _TEXTS else stored == b"1"
