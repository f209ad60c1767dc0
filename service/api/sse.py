"""Server-sent events, and work that is cancelled when its client disconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from service.api.errors import problem_document, to_api_error
from service.api.stopping import GatewayStops, stopping_of
from service.api.waiting import POLL_S, ClientGone

FROM_THE_START = "0-0"
"""The event id, an id of a Redis stream, before the first event of a job."""
KEEP_ALIVE_S = 15.0
"""After how long without an event a comment is sent, so that proxies keep the connection open."""
KEEP_ALIVE = ": keep-alive\n\n"
RECONNECT = "retry: 2000\n\n"
"""Tells a client that can resume the stream to reconnect after so many milliseconds; it is no event."""
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

_T = TypeVar("_T")


def frame(name: str, data: dict[str, Any]) -> str:
    """One event. ASCII only: a language model may write half of a surrogate pair, which UTF-8 cannot encode."""
    return text_frame(name, json.dumps(data))


def stopping_frame(request: Request) -> str:
    """The event ``error`` with which a stream ends that cannot be resumed, when the gateway stops."""
    return frame("error", problem_document(to_api_error(GatewayStops()), request.state.request_id))


def text_frame(name: str, line: str, event_id: str | None = None) -> str:
    """One event whose data is ``line``, a text without line breaks; a client may resume after ``event_id``."""
    numbered = "" if event_id is None else f"id: {event_id}\n"
    return f"{numbered}event: {name}\ndata: {line}\n\n"


class EventStream(StreamingResponse):
    """A response that streams ``frames``; when the gateway stops, ``ending`` is its last frame.

    A stream that has not begun by then raises :class:`GatewayStops`.
    """

    def __init__(self, frames: AsyncIterator[str], ending: str) -> None:
        super().__init__(frames, headers=HEADERS, media_type="text/event-stream")
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def watched_send(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            async with stopping_of(scope).interrupting():
                await super().__call__(scope, receive, watched_send)
        except GatewayStops:
            if not has_begun:
                raise
            await send({"type": "http.response.body", "body": self._ending.encode(), "more_body": False})


class EventResponse(EventStream):
    """A response that streams ``frames`` and keep-alive comments; ``frames`` is closed if the client disconnects."""

    def __init__(
        self, frames: AsyncGenerator[str, None], keep_alive_s: float = KEEP_ALIVE_S, *, ending: str = RECONNECT
    ) -> None:
        self._frames = _kept_alive(frames, keep_alive_s)
        super().__init__(self._frames, ending)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; uvicorn cancels this call if the client disconnects."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._frames.aclose()


async def _kept_alive(frames: AsyncGenerator[str, None], keep_alive_s: float) -> AsyncGenerator[str, None]:
    """``frames`` and keep-alive comments.

    ``frames`` runs in one task of its own, because a generator that uses ``asyncio.timeout`` must stay in one task.
    """
    waiting: asyncio.Queue[str | None] = asyncio.Queue()  # bounded by the length of one answer
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
    """The result of ``work``, which is cancelled if the client disconnects.

    Raises:
        ClientGone: the client disconnected.
        GatewayStops: the gateway stops.
    """
    task = asyncio.create_task(work)
    try:
        async with stopping_of(request.scope).interrupting():
            while not (await asyncio.wait([task], timeout=POLL_S))[0]:
                if await request.is_disconnected():
                    raise ClientGone("the client disconnected")
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])
