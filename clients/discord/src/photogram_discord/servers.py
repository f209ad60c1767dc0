"""The clients of the Photogram server: one for each API key."""

from __future__ import annotations

from photogram import AsyncPhotogram, AuthenticationError

from .config import Config
from .errors import Refused
from .store import Store, guild_scope

KEY_TIMEOUT_S = 10.0


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

    async def check_key(self, api_key: str) -> None:
        """Raise Refused if the server does not know `api_key`, and the client's errors if it does not answer."""
        try:
            client = AsyncPhotogram(self._config.url, api_key, timeout_s=KEY_TIMEOUT_S, max_retries=1)
        except ValueError as error:
            raise Refused("An API key has no spaces and only letters, digits and signs of ASCII.") from error
        async with client:
            try:
                await client.models()
            except AuthenticationError as error:
                raise Refused("The image server does not know that key.") from error

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
