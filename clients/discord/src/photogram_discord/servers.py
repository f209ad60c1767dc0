"""The clients of the Photogram server: one for each API key."""

from __future__ import annotations

from photogram import AsyncPhotogram

from .config import Config
from .store import Store, guild_scope


class Servers:
    """Makes a client when a guild first needs one, with the guild's own key if it has one."""

    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self._clients: dict[str | None, AsyncPhotogram] = {}

    def client(self, guild_id: int | None) -> AsyncPhotogram:
        settings = {} if guild_id is None else self._store.settings(guild_scope(guild_id))
        key = settings.get("api_key") or self._config.api_key
        if key not in self._clients:
            self._clients[key] = AsyncPhotogram(self._config.url, key)
        return self._clients[key]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
