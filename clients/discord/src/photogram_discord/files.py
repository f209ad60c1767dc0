"""Reads the files that Discord stores, none of which may be larger than the server takes."""

from __future__ import annotations

import aiohttp

from .errors import Refused

MAX_INPUT_BYTES = 20 << 20
TIMEOUT_S = 20.0
TOO_LARGE = f"An image may have at most {MAX_INPUT_BYTES >> 20} MiB."
UNAVAILABLE = "Discord does not give me that image. Please attach it again."


class Files:
    """One connection pool; redirects are not followed, so that no address but Discord's is asked."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def read(self, url: str) -> bytes:
        """The bytes at `url`, of which at most `MAX_INPUT_BYTES` are read; raises Refused."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise Refused(UNAVAILABLE)
                return await _body(response)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Refused(UNAVAILABLE) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


async def _body(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_chunked(1 << 16):
        data += piece
        if len(data) > MAX_INPUT_BYTES:
            raise Refused(TOO_LARGE)
    return bytes(data)
