"""A minimal HTTP/1.1 client, which takes little of the CPU that is measured."""

from __future__ import annotations

import asyncio


class Connection:
    """A keep-alive connection to a server on the loopback."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self._reader, self._writer = reader, writer
        self._headers = f"Host: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"

    @classmethod
    async def open(cls, port: int, key: str) -> Connection:
        """Connect to the server at ``port``."""
        return cls(*await asyncio.open_connection("127.0.0.1", port), key)

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send one request; returns status and body."""
        response = await self._head(method, path, body)
        length = next(int(line.split(b":")[1]) for line in response.lower().split(b"\r\n") if b"content-length" in line)
        return int(response.split(b" ", 2)[1]), await self._reader.readexactly(length)

    async def stream(self, path: str) -> None:
        """Begin to read a stream of server-sent events, which :meth:`read_until` reads on."""
        response = await self._head("GET", path, b"")
        assert response.split(b" ", 2)[1] == b"200", response

    async def read_until(self, text: bytes) -> None:
        """Read on until ``text`` has come."""
        await self._reader.readuntil(text)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    async def _head(self, method: str, path: str, body: bytes) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        return await self._reader.readuntil(b"\r\n\r\n")
