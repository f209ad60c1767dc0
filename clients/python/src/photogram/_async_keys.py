"""`client.keys`."""

import builtins
from typing import Unpack

from ._async_performer import AsyncPerformer
from ._key_models import ApiKey, KeyRules, NewKey
from ._models import Usage
from ._paths import path_part


class AsyncKeys:
    """`client.keys`: the API keys of the server; all methods need a key with the scope `admin`."""

    def __init__(self, performer: AsyncPerformer) -> None:
        self._run, self._flows = performer.run, performer.flows

    async def list(self) -> builtins.list[ApiKey]:
        """All keys, the oldest first, also those that have expired or were revoked."""
        return await self._run(self._flows.listing("keys", ApiKey.from_payload))

    async def get(self, key_id: str) -> ApiKey:
        """The key without its secret; raises NotFound."""
        return await self._run(self._flows.call("GET", _path(key_id), ApiKey.from_payload))

    async def create(self, **rules: Unpack[NewKey]) -> ApiKey:
        """Make a key, which needs a `name`; its `.secret` is shown this once. Raises InvalidParams."""
        return await self._run(self._flows.call("POST", "/v1/keys", ApiKey.from_payload, rules))

    async def change(self, key_id: str, **rules: Unpack[KeyRules]) -> ApiKey:
        """Change what a key may do; what is left out stays. Raises NotFound, InvalidParams."""
        return await self._run(self._flows.call("PATCH", _path(key_id), ApiKey.from_payload, rules))

    async def rotate(self, key_id: str, *, grace_s: int = 0) -> ApiKey:
        """Give the key a new secret; the old one works for `grace_s` more seconds. Raises NotFound."""
        path, body = f"{_path(key_id)}/rotate", {"grace_s": grace_s}
        return await self._run(self._flows.call("POST", path, ApiKey.from_payload, body))

    async def revoke(self, key_id: str) -> ApiKey:
        """Refuse the key from now on, for good; what it owns stays. Raises NotFound."""
        return await self._run(self._flows.call("POST", f"{_path(key_id)}/revoke", ApiKey.from_payload))

    async def delete(self, key_id: str) -> None:
        """Remove a key that owns no jobs; raises NotFound, Conflict."""
        await self._run(self._flows.send("DELETE", _path(key_id)))

    async def usage(self, key_id: str) -> Usage:
        """What the key uses now and used, and its limits; raises NotFound."""
        return await self._run(self._flows.call("GET", f"{_path(key_id)}/usage", Usage.from_payload))


def _path(key_id: str) -> str:
    return f"/v1/keys/{path_part(key_id, 'an API key')}"
