"""The server the client's tests talk to, and both clients behind one face."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
from photogram import AsyncPhotogram, Event, Photogram, RewrittenPrompt

from .wire_server import WireServer

# Shared, because reading the certificates for each client would be most of the suite's time.
TLS = ssl.create_default_context()


class Awaited:
    """The methods of an object of either client, to await."""

    def __init__(self, kind: str, target: object) -> None:
        self.kind, self.target = kind, target

    def __getattr__(self, name: str):
        method = getattr(self.target, name)
        if self.kind == "async":
            return method
        return lambda *args, **kwargs: asyncio.to_thread(method, *args, **kwargs)


class Either:
    """A sync or an async client: `await either.get(id)` calls it either way; `events` and `pieces` collect a stream."""

    def __init__(self, kind: str, **settings: object) -> None:
        self.kind = kind
        if kind == "sync":
            self.client = Photogram(http_client=httpx2.Client(transport=httpx2.HTTPTransport(verify=TLS)), **settings)
        else:
            http = httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(verify=TLS))
            self.client = AsyncPhotogram(http_client=http, **settings)
        self.jobs = Awaited(kind, self.client.jobs)
        self.keys = Awaited(kind, self.client.keys)

    def __getattr__(self, name: str):
        return getattr(Awaited(self.kind, self.client), name)

    def of(self, handle):
        """A handle of the client, with methods to await."""
        return Awaited(self.kind, handle)

    async def close(self) -> None:
        await self.of(self.client).close()
        http = self.client._performer.http
        await (http.aclose() if self.kind == "async" else asyncio.to_thread(http.close))

    async def events(self, *args: object, **kwargs: object) -> list[Event]:
        return await self.all(self.client.jobs.watch(*args, **kwargs))

    async def pieces(self, *args: object, **kwargs: object) -> list[str | RewrittenPrompt]:
        return await self.all(self.client.stream_rewrite(*args, **kwargs))

    async def all(self, stream) -> list:
        """Everything that a list or a stream gives."""
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
