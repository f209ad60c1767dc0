"""The end of waits when the gateway stops: open long polls, synchronous calls and event streams end at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from models.errors import PhotogramError


class GatewayStops(PhotogramError):
    """The gateway stops, so that a request that waits is not answered by it."""

    def __init__(self) -> None:
        super().__init__("the server stops or restarts; try again soon")


class Stopping:
    """Whether the gateway stops, and the waits that end then; for one event loop."""

    def __init__(self) -> None:
        self._is_set = False
        self._limits: set[asyncio.Timeout] = set()

    @property
    def is_set(self) -> bool:
        """Whether the gateway stops."""
        return self._is_set

    def stop(self) -> None:
        """End all waits, now and from now on; other requests run to their end."""
        self._is_set = True
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(now)

    @asynccontextmanager
    async def interrupting(self) -> AsyncIterator[None]:
        """Cancel the block when the gateway stops, and raise :class:`GatewayStops` in its place.

        The block must stay in one task.
        """
        limit = asyncio.timeout(0 if self._is_set else None)
        try:
            async with limit:
                self._limits.add(limit)
                try:
                    yield
                finally:
                    self._limits.discard(limit)
        except TimeoutError as error:
            if limit.expired():
                raise GatewayStops from error
            raise


def stopping_of(scope: MutableMapping[str, Any]) -> Stopping:
    """The :class:`Stopping` of the server that received the request; one that never stops in other servers."""
    found: Stopping | None = scope.get("state", {}).get("stopping")
    return found or Stopping()
