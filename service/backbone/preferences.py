"""What each API key wants where its requests leave it open, kept in Redis until it is changed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from redis.asyncio import Redis

_REMEMBERED_S = 5.0
_REMEMBERED_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class PreferenceValues:
    """The preferences of one key; as they are here where it set none."""

    enhance_prompt: bool = False
    """Whether prompts are rewritten by the language model before they are drawn."""
    enhance_negative_prompt: bool = False
    """Whether what must not be in the image is rewritten too."""


_NAMES = tuple(field.name for field in fields(PreferenceValues))


class Preferences:
    """Reads and writes them for one gateway process; what was read is remembered for five seconds."""

    def __init__(self, connection: Redis) -> None:
        self._connection = connection
        self._remembered: dict[str, tuple[float, PreferenceValues]] = {}

    async def get(self, owner: str) -> PreferenceValues:
        """The key's preferences; another process may have changed them within the last five seconds."""
        good_until, values = self._remembered.get(owner, (0.0, PreferenceValues()))
        return await self._read(owner) if good_until < time.monotonic() else values

    async def change(self, owner: str, changes: Mapping[str, bool | None]) -> PreferenceValues:
        """Set some by name, ``None`` being the default again; gives all of them."""
        removed = [name for name, value in changes.items() if value is None]
        kept = [part for name, value in changes.items() if value is not None for part in (name, int(value))]
        async with self._connection.pipeline() as transaction:
            if removed:
                transaction.hdel(_key(owner), *removed)
            if kept:
                transaction.hset(_key(owner), items=kept)
            await transaction.execute()
        return await self._read(owner)

    async def _read(self, owner: str) -> PreferenceValues:
        found: Any = await self._connection.hmget(_key(owner), _NAMES)
        given = {name: value == b"1" for name, value in zip(_NAMES, found, strict=True) if value is not None}
        values = PreferenceValues(**given)
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[owner] = time.monotonic() + _REMEMBERED_S, values
        return values


def _key(owner: str) -> str:
    return f"photogram:preferences:{owner}"
