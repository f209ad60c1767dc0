"""The workspace of an agent job, on the worker's side: its folder, and the tools that work in it.

The worker itself puts files in and takes them out, with the checks of the tool server but without its process. Tools
run in that process only, and whatever it does is either a checked answer or a :class:`ToolFailed`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mcp import Client
from mcp_types import CallToolResult, TextContent

from models.errors import PhotogramError, shortened
from workers.agent.tool_process import ToolProcess
from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.folder import Entry, Folder
from workers.agent.tool_server.settings import ToolSettings

log = logging.getLogger(__name__)

START_S = 60.0
CALL_S = 60.0
TEXT_MAX_CHARS = 16_000
"""Of one answer, for people and models; what is longer is cut."""
STRUCTURED_MAX_BYTES = 32_000
"""Of one answer as JSON; what is longer is a fault of the server, which keeps to half of it."""
_TOOLS_MAX = 64
_TOOL_MAX_BYTES = 16_000
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_ZIP_MODE = 0o644 << 16
_UNIX = 3


class ToolFailed(PhotogramError):
    """A tool gave no answer that can be used; its process was ended, and the next call starts a new one.

    Args:
        tool: its name.
    """

    def __init__(self, tool: str, reason: str) -> None:
        super().__init__(f"{tool} {reason}")
        self.tool = tool


@dataclass(frozen=True)
class Tool:
    """A tool, as a model is told of it."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    """JSON schema of its arguments."""
    is_read_only: bool


@dataclass(frozen=True)
class ToolAnswer:
    """What a tool answered; an error is a sentence that says what to do differently."""

    text: str
    structured: Mapping[str, Any] | None
    is_error: bool


class Workspace:
    """The files and the tools of one agent job, for as long as the context lasts; then the folder is removed.

    Calls of tools run one after another.

    Args:
        settings: ``settings.workspace`` is created if it does not exist.
        call_s: how long a call may take.
        command: starts the tool server.
    """

    def __init__(self, settings: ToolSettings, call_s: float = CALL_S, command: Sequence[str] | None = None) -> None:
        self._settings, self._call_s = settings, call_s
        self._command = command or [sys.executable, "-P", "-m", "workers.agent.tool_server", settings.to_json()]
        self._path = Path(settings.workspace)
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = Folder(self._path, settings.folder)
        self._session: _Session | None = None
        self._calling = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def tools(self) -> list[Tool]:
        """The tools, in the order in which the server lists them.

        Raises:
            ToolFailed: the server does not start.
        """
        async with self._calling:
            return list((await self._started("the tool server")).tools.values())

    async def call(self, tool: str, arguments: Mapping[str, Any], timeout_s: float | None = None) -> ToolAnswer:
        """Call a tool.

        Args:
            timeout_s: how long it may take; by default as long as all calls.

        Raises:
            ToolFailed: there is no such tool, or no answer that can be used.
        """
        async with self._calling:
            session = await self._started(tool)
            if tool not in session.tools:
                raise ToolFailed(shortened(tool), "is no tool here")
            try:
                return _checked(tool, await session.call(tool, arguments, timeout_s or self._call_s))
            except ToolFailed:
                await self._stop()
                raise
            except asyncio.CancelledError:
                await self._stop()
                raise

    async def put(self, name: str, data: bytes) -> None:
        """Write a file, once no tool is running.

        Raises:
            Refused: the name is not valid, or the workspace would hold too much.
        """
        async with self._calling:
            await asyncio.to_thread(self._folder.write, name, data)

    async def get(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            Refused: there is no such plain file, or it is too large.
        """
        return await asyncio.to_thread(self._folder.read, name)

    async def remove(self, name: str) -> None:
        """Remove a file, once no tool is running.

        Raises:
            Refused: there is no such file.
        """
        async with self._calling:
            await asyncio.to_thread(self._folder.delete, name)

    async def tree(self) -> list[Entry]:
        """All files, sorted by name.

        Raises:
            Refused: there are too many.
        """
        return await asyncio.to_thread(self._folder.entries)

    async def archive(self) -> bytes:
        """All files as a zip archive; the same files give the same bytes.

        Raises:
            Refused: they are too many or too large.
        """
        return await asyncio.to_thread(self._archive)

    async def close(self) -> None:
        """End the process with all that it started, and remove the folder; may be called again."""
        async with self._calling:
            await self._stop()
            await asyncio.to_thread(self._remove)

    async def _started(self, tool: str) -> _Session:
        if self._session is not None and self._session.has_ended:
            await self._stop()
        if self._session is None:
            session = _Session(ToolProcess(self._command, _environment()))
            try:
                await session.start()
            except BaseException as error:
                await session.stop()
                if isinstance(error, Exception):
                    raise ToolFailed(tool, f"cannot be used: the tool server {session.fault(error)}") from error
                raise
            self._session = session
        return self._session

    async def _stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.stop()

    def _archive(self) -> bytes:
        buffer, left = BytesIO(), self._settings.folder.total_bytes
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for entry in self._folder.entries():
                data = self._folder.read(entry.name)
                left -= len(data)
                if left < 0:
                    raise Refused("the files are too large for an archive")
                info = zipfile.ZipInfo(entry.name, _ZIP_TIME)
                info.external_attr, info.create_system = _ZIP_MODE, _UNIX
                archive.writestr(info, data)
        return buffer.getvalue()

    def _remove(self) -> None:
        if self._path.exists():
            self._folder.tidy(kept=())
            self._folder.close()
            self._path.rmdir()


class _Session:
    """A running process and the MCP client that speaks with it; both live in a task of their own."""

    def __init__(self, process: ToolProcess) -> None:
        self._process = process
        self._client: Client | None = None
        self._ready, self._done = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.tools: dict[str, Tool] = {}

    @property
    def has_ended(self) -> bool:
        """Whether the process can take no further call."""
        return self._process.fault is not None

    def fault(self, error: Exception) -> str:
        """What is wrong with the process, to follow its name; its last words are logged."""
        if self._process.errors:
            log.warning("a tool server wrote: %s", self._process.errors.encode("unicode_escape").decode())
        if isinstance(error, TimeoutError):
            return "did not answer in time"
        return self._process.fault or "answered what is no valid answer"

    async def start(self) -> None:
        """Start the process, and ask for its tools."""
        self._task = asyncio.create_task(self._run())
        async with asyncio.timeout(START_S):
            ready = asyncio.create_task(self._ready.wait())
            await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if self._client is None:
                await self._task
                raise ConnectionError("the connection ended")
            self.tools = {tool.name: tool for tool in _checked_tools(await self._client.list_tools())}

    async def call(self, tool: str, arguments: Mapping[str, Any], seconds: float) -> CallToolResult:
        """The answer of a tool.

        Raises:
            ToolFailed: there is none.
        """
        assert self._client is not None
        self._process.begin_call()
        try:
            async with asyncio.timeout(seconds):
                return await self._client.call_tool(tool, dict(arguments))
        except TimeoutError:
            raise ToolFailed(tool, f"did not answer within {seconds:g} s and was ended") from None
        except Exception as error:
            raise ToolFailed(tool, f"failed: the tool server {self.fault(error)}") from error

    async def stop(self) -> None:
        """End both."""
        self._done.set()
        await self._process.end()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async with Client(self._process.connected(), input_required_max_rounds=1, cache=None) as client:
            self._client = client
            self._ready.set()
            await self._done.wait()


def _environment() -> dict[str, str]:
    """All variables of the process: none of the worker's own."""
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    return {
        "PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip


def _checked_tools(listed: Any) -> list[Tool]:
    """The tools that a server lists.

    Raises:
        ValueError: it lists too many, or describes one at too great length.
    """
    if len(listed.tools) > _TOOLS_MAX:
        raise ValueError("too many tools")
    for tool in listed.tools:
        if len(json.dumps([tool.name, tool.description, tool.input_schema])) > _TOOL_MAX_BYTES:
            raise ValueError("too long a description")
    return [
        Tool(
            tool.name, _printable(tool.description or ""), tool.input_schema,
            bool(tool.annotations and tool.annotations.read_only_hint),
        )
        for tool in listed.tools
    ]  # fmt: skip


def _checked(tool: str, result: CallToolResult) -> ToolAnswer:
    """What a tool answered, cut to size; anything but text is left out.

    Raises:
        ToolFailed: its document is too long.
    """
    text = _printable("\n".join(part.text for part in result.content if isinstance(part, TextContent)))
    structured = result.structured_content
    with suppress(ValueError, RecursionError):
        if structured is None or len(json.dumps(structured, ensure_ascii=False).encode()) <= STRUCTURED_MAX_BYTES:
            return ToolAnswer(text[:TEXT_MAX_CHARS], structured, bool(result.is_error))
    raise ToolFailed(tool, f"answered more than {STRUCTURED_MAX_BYTES} bytes")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text[: 2 * TEXT_MAX_CHARS])
