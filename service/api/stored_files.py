"""Responses with stored files."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from stat import S_IFREG
from typing import Any, ParamSpec, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from service.backbone.objects.protocol import StoredObject

READS_MAX = 32
"""How many requests to stores run at the same time."""
_RANGE = b"range"
_SPECIFIER = re.compile(rb"(\d{1,18})-(\d{0,18})|-\d{1,18}")
"""A number with more digits is beyond any file, and Python refuses to read one with thousands."""

P = ParamSpec("P")
T = TypeVar("T")


class StoreReads:
    """Runs reads of the stores in threads of their own: a store that hangs must not take those of other requests."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(READS_MAX)

    async def run(self, read: Callable[P, T], *arguments: P.args, **others: P.kwargs) -> T:
        """Call ``read`` as soon as a thread is free."""
        return await to_thread.run_sync(partial(read, *arguments, **others), limiter=self._limiter)


class StoredFile(FileResponse):
    """A stored file, or the parts of it that ``Range`` asks for, from any store.

    A malformed header is ignored (RFC 9110, section 14.2).
    """

    def __init__(
        self,
        stored: StoredObject,
        reads: StoreReads,
        *,
        headers: Mapping[str, str],
        media_type: str,
        filename: str | None = None,
    ) -> None:
        self._stored, self._reads = stored, reads
        status = os.stat_result((S_IFREG, 0, 0, 1, 0, 0, stored.size_bytes, 0, int(stored.modified_at), 0))
        super().__init__(stored.name, headers=headers, media_type=media_type, filename=filename, stat_result=status)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != _RANGE or is_range(value)]
        plain = {**scope, "headers": headers, "extensions": {}}
        if scope["method"] == "HEAD":
            await super().__call__(plain, receive, send)
            return
        # It is opened before anything is sent, so that a store that is down is answered with an error.
        self._file = anyio.wrap_file(await self._reads.run(self._stored.open))
        try:
            await super().__call__(plain, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._file.aclose()

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[Any]:
        """The file, in place of the one that the base class would open at a path of this machine."""
        yield self._file


def is_range(value: bytes) -> bool:
    """Whether ``value`` is a valid ``Range`` header in bytes."""
    unit, _, specifiers = value.partition(b"=")
    return unit.strip().lower() == b"bytes" and all(_is_specifier(each.strip()) for each in specifiers.split(b","))


def _is_specifier(text: bytes) -> bool:
    found = _SPECIFIER.fullmatch(text)
    if found is None:
        return False
    first, last = found.groups()
    return not last or int(first) <= int(last)
