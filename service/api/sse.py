"""Answers as they come: server-sent events, and work that ends when its client leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from service.api.waiting import ClientGone

KEEP_ALIVE_S = 15.0
"""How often something is sent where there is nothing to say, lest a proxy hang up."""
KEEP_ALIVE = ": keep-alive\n\n"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_LOOK_S = 0.5
"""How often a waiting call looks whether its client is still there."""

_T = TypeVar("_T")


def frame(name: str, data: dict[str, Any]) -> str:
    """One event; ASCII only, for what a language model writes may be half of a character."""
    return text_frame(name, json.dumps(data))


def text_frame(name: str, line: str, event_id: str | None = None) -> str:
    """One event with ``line`` for its data, which has no line ends; a client may resume after ``event_id``."""
    numbered = "" if event_id is None else f"id: {event_id}\n"
    return f"{numbered}event: {name}\ndata: {line}\n\n"


def json_answer(document: dict[str, Any]) -> Response:
    """A whole answer; ASCII only, for the same reason."""
    return Response(json.dumps(document), media_type="application/json")


class EventResponse(StreamingResponse):
    """``frames`` as they come, with comments in between when nothing comes; a client that leaves closes ``frames``."""

    def __init__(self, frames: AsyncGenerator[str, None], keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self._frames = _kept_alive(frames, keep_alive_s)
        super().__init__(self._frames, headers=HEADERS, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; on a client that leaves, the server's cancellation ends it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._frames.aclose()


async def _kept_alive(frames: AsyncGenerator[str, None], keep_alive_s: float) -> AsyncGenerator[str, None]:
    """``frames``, made in one task of their own: a generator that watches its deadline must not change tasks."""
    waiting: asyncio.Queue[str | None] = asyncio.Queue()  # as long as an answer at most
    task = asyncio.create_task(_fill(waiting, frames))
    try:
        async for each in _drain(waiting, keep_alive_s):
            yield each
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _fill(waiting: asyncio.Queue[str | None], frames: AsyncGenerator[str, None]) -> None:
    try:
        async with aclosing(frames):
            async for each in frames:
                waiting.put_nowait(each)
    finally:
        waiting.put_nowait(None)


async def _drain(waiting: asyncio.Queue[str | None], keep_alive_s: float) -> AsyncIterator[str]:
    while True:
        try:
            each = await asyncio.wait_for(waiting.get(), keep_alive_s)
        except TimeoutError:
            yield KEEP_ALIVE
            continue
        if each is None:
            return
        yield each


async def while_connected(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """What ``work`` gives; it is canceled if the client leaves before.

    Raises:
        ClientGone: the client left.
    """
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([task], timeout=_LOOK_S))[0]:
            if await request.is_disconnected():
                raise ClientGone("the client left")
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])
