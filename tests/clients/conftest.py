"""The server the client's tests talk to, and both clients behind one face."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from photogram import AsyncPhotogram, Event, Photogram, RewrittenPrompt

from .wire_server import WireServer

# Shared, because reading the certificates for each client would be most of the suite's time.
TLS = ssl.create_default_context()


class Either:
    """A sync or an async client: `await either.get(id)` calls it either way; `events` and `pieces` collect a stream."""

    def __init__(self, kind: str, **settings: object) -> None:
        self.kind = kind
        if kind == "sync":
            self.client = Photogram(transport=httpx.HTTPTransport(verify=TLS), **settings)
        else:
            self.client = AsyncPhotogram(transport=httpx.AsyncHTTPTransport(verify=TLS), **settings)

    def __getattr__(self, name: str):
        method = getattr(self.client, name)
        if self.kind == "async":
            return method
        return lambda *args, **kwargs: asyncio.to_thread(method, *args, **kwargs)

    async def events(self, *args: object, **kwargs: object) -> list[Event]:
        return await self._all(self.client.stream(*args, **kwargs))

    async def pieces(self, *args: object, **kwargs: object) -> list[str | RewrittenPrompt]:
        return await self._all(self.client.stream_rewrite(*args, **kwargs))

    async def _all(self, stream):
        if self.kind == "async":
            return [each async for each in stream]
        return await asyncio.to_thread(list, stream)


@pytest.fixture(scope="session")
def running_server() -> Iterator[WireServer]:
    server = WireServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(running_server: WireServer, monkeypatch: pytest.MonkeyPatch) -> WireServer:
    running_server.reset()
    monkeypatch.setenv("PHOTOGRAM_URL", running_server.url)
    monkeypatch.delenv("PHOTOGRAM_API_KEY", raising=False)
    return running_server


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def client(server: WireServer, kind: str) -> AsyncIterator[Either]:
    either = Either(kind)
    yield either
    await either.close()
