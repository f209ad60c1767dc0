"""The process of a tool server, seen from the worker: it may lie, flood, hang or die, and is ended with all it started.

A transport for the official MCP client. Unlike the one that comes with it, lines and answers are bounded, and what is
no message of MCP ends the process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

LINE_MAX_BYTES = 1 << 20
"""Of one message."""
CALL_MAX_BYTES = 4 << 20
"""Of all messages between two calls."""
_ERRORS_KEPT_BYTES = 2_000
_CHUNK_BYTES = 1 << 14
_GRACE_S = 1.0
"""Once its standard input is closed, a tool server ends all that it has started, and then itself."""
_ASKED_EVERY_S = 0.01

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


class ToolProcess:
    """One process.

    Args:
        command: what to start.
        environment: all of its variables.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = command, environment
        self._process: asyncio.subprocess.Process | None = None
        self._received_bytes = 0
        self._errors = b""
        self.fault: str | None = None
        """Why its connection ended, to follow its name; ``None`` while it lasts."""

    @property
    def errors(self) -> str:
        """The last that it wrote to standard error."""
        return self._errors.decode(errors="replace")

    def begin_call(self) -> None:
        """From now on it may send :data:`CALL_MAX_BYTES`."""
        self._received_bytes = 0

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Streams]:
        """Start the process, and end it afterwards; the streams are those that the MCP client takes."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environment, cwd="/", start_new_session=True, limit=LINE_MAX_BYTES,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        received, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, to_send = anyio.create_memory_object_stream[SessionMessage](0)
        tasks = [
            asyncio.create_task(self._read(received)), asyncio.create_task(self._write(to_send, received)),
            asyncio.create_task(self._keep_errors()),
        ]  # fmt: skip
        try:
            yield incoming, outgoing
        finally:
            with anyio.CancelScope(shield=True):
                await self.end()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for stream in (received, incoming, outgoing, to_send):
                    stream.close()

    async def end(self) -> None:
        """End the process and all that it started, and wait for it."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        await self._wait(_GRACE_S)
        with suppress(ProcessLookupError):  # the group lasts as long as anything in it
            os.killpg(process.pid, signal.SIGKILL)
        await self._wait(_GRACE_S)
        process._transport.close()  # type: ignore[attr-defined]  # what holds the pipes open keeps it from closing

    async def _wait(self, seconds: float) -> None:
        """Wait for its end, not for that of its pipes, which whatever it started may hold open."""
        assert self._process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._process.returncode is None:
                    await asyncio.sleep(_ASKED_EVERY_S)

    async def _read(self, received: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        assert self._process is not None and self._process.stdout is not None
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with received:
                while self.fault is None:
                    message = self._message(await self._line(self._process.stdout))
                    if message is not None:
                        await received.send(message)

    async def _line(self, stdout: asyncio.StreamReader) -> bytes:
        try:
            line = await stdout.readline()
        except ValueError:  # longer than the limit
            self.fault = f"sent a message of more than {LINE_MAX_BYTES} bytes"
            return b""
        if not line:
            self.fault = self.fault or "ended unexpectedly"
        self._received_bytes += len(line)
        if self._received_bytes > CALL_MAX_BYTES:
            self.fault = f"sent more than {CALL_MAX_BYTES} bytes"
        return line

    def _message(self, line: bytes) -> SessionMessage | None:
        if self.fault is not None:
            return None
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError:
            self.fault = "sent what is no message of MCP"
            return None

    async def _write(
        self,
        to_send: MemoryObjectReceiveStream[SessionMessage],
        received: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            async for each in to_send:
                text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
                self._process.stdin.write(f"{text}\n".encode())
                await self._process.stdin.drain()
        except OSError:
            self.fault = self.fault or "ended unexpectedly"
            received.close()

    async def _keep_errors(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        while data := await self._process.stderr.read(_CHUNK_BYTES):
            self._errors = (self._errors + data)[-_ERRORS_KEPT_BYTES:]
