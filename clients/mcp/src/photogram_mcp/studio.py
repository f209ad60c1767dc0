"""What all tools share: the client of a request, and errors as the answers of tools."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from photogram import AsyncPhotogram, PhotogramError

from photogram_mcp.sources import Sources

OpenClient = Callable[["Context[Any, Any]"], AbstractAsyncContextManager[AsyncPhotogram]]
"""Gives the client of a request, for as long as the request is answered."""


@dataclass(frozen=True)
class Studio:
    """Where tools work."""

    open_client: OpenClient
    sources: Sources

    @asynccontextmanager
    async def client(self, context: Context[Any, Any]) -> AsyncIterator[AsyncPhotogram]:
        """The client of a request; what the server refuses, and arguments that cannot be sent, are errors of the tool.

        Raises:
            ToolError: with the sentence that the assistant is told.
        """
        try:
            async with self.open_client(context) as client:
                yield client
        except (PhotogramError, ValueError, OSError) as error:
            raise ToolError(str(error) or type(error).__name__) from error
