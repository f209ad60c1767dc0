"""Awaits a generation's text, whole or as server-sent events, and closes it when the client disconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.rwkv_server.engine_thread import Generation
from service.rwkv_server.errors import RequestError
from service.rwkv_server.views import CompletionView

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def whole_text(request: Request, generation: Generation) -> str:
    """The complete text; closes the generation in any case.

    Raises:
        ClientDisconnect: the client disconnected.
        RequestError: the model failed.
    """
    collecting = asyncio.create_task(_collected(generation))
    disconnecting = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((collecting, disconnecting), return_when=asyncio.FIRST_COMPLETED)
        if collecting.done():
            return collecting.result()
        raise ClientDisconnect
    finally:
        generation.close()
        collecting.cancel()
        disconnecting.cancel()
        await asyncio.gather(collecting, disconnecting, return_exceptions=True)


async def _collected(generation: Generation) -> str:
    return "".join([text async for text in generation.texts()])


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """The generation as server-sent events; it is closed when the stream ends, for whatever reason."""

    def __init__(self, view: CompletionView, generation: Generation, *, with_usage: bool) -> None:
        super().__init__(_events(view, generation, with_usage), headers=_HEADERS, media_type="text/event-stream")
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; a client that disconnects ends the stream, because the server then cancels this call."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._generation.close()


async def _events(view: CompletionView, generation: Generation, with_usage: bool) -> AsyncIterator[str]:
    if view.is_chat:
        yield _event(view.role_chunk())
    try:
        async with aclosing(generation.texts()) as texts:  # type: ignore[type-var]
            async for text in texts:
                yield _event(view.text_chunk(text))
    except RequestError as error:
        yield f"data: {error.to_json()}\n\n"
        return
    yield _event(view.finish_chunk(generation))
    if with_usage:
        yield _event(view.usage_chunk(generation))
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
