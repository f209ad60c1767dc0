"""Copies bytes between two addresses: ``python -m tests.hosts.relay LISTEN TARGET [LISTEN TARGET ...]``.

An address is ``host:port`` or the path of a Unix socket. Unix sockets cross the borders of network namespaces, so that
a pair of relays, or one, carries a connection into or out of a namespace. It prints ``ready`` when all listen.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

_PIECE_BYTES = 1 << 16


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()


def _carrier(target: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if target.startswith("/"):
                there = await asyncio.open_unix_connection(target)
            else:
                host, port = target.split(":")
                there = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    return carry


async def relay(addresses: list[str]) -> None:
    """Relay for ever."""
    for listen, target in zip(addresses[::2], addresses[1::2], strict=True):
        if listen.startswith("/"):
            await asyncio.start_unix_server(_carrier(target), listen)
        else:
            host, port = listen.split(":")
            await asyncio.start_server(_carrier(target), host, int(port))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1:]))
