"""Answers in OpenAI's words: whole, and as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.api.errors import ApiError
from service.api.openai.errors import describe, error_json
from service.rwkv_server.desk import Answer

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Wording:
    """What all objects that tell of one answer have in common."""

    model: str
    is_chat: bool
    created: int = field(default_factory=lambda: int(time.time()))
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def whole(self, answer: Answer, text: str) -> dict[str, Any]:
        """The answer in one object."""
        said = {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        kind = "chat.completion" if self.is_chat else "text_completion"
        return self._object(kind, [_choice(said, answer.finish_reason)]) | {"usage": usage(answer)}

    def opening(self) -> dict[str, Any]:
        """What a stream starts with: who speaks. Plain completions have no such thing."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}}, None)

    def piece(self, text: str) -> dict[str, Any]:
        """A piece of the text."""
        return self._chunk({"delta": {"content": text}} if self.is_chat else {"text": text}, None)

    def end(self, answer: Answer) -> dict[str, Any]:
        """Why the answer is over."""
        return self._chunk({"delta": {}} if self.is_chat else {"text": ""}, answer.finish_reason)

    def told_usage(self, answer: Answer) -> dict[str, Any]:
        """The last of a stream, if it was asked for."""
        return self._object(self._chunk_kind, []) | {"usage": usage(answer)}

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.is_chat else "text_completion"

    def _chunk(self, said: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        return self._object(self._chunk_kind, [_choice(said, finish_reason)])

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        prefix = "chatcmpl" if self.is_chat else "cmpl"
        return {
            "id": f"{prefix}-{self.key}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def _choice(said: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, **said, "logprobs": None, "finish_reason": finish_reason}


def usage(answer: Answer) -> dict[str, Any]:
    """How many tokens were read and written, and how many need not be read."""
    read, written = len(answer.request.prompt), answer.completion_tokens
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": answer.reused_tokens},
    }


async def whole_text(request: Request, answer: Answer) -> str:
    """The text once it is all there; closes the answer, also if the client leaves.

    Raises:
        ClientDisconnect: the client left.
        ApiError: the model failed.
    """
    gathering = asyncio.create_task(_gathered(answer))
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait((gathering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if gathering.done():
            return gathering.result()
        raise ClientDisconnect
    finally:
        answer.close()
        gathering.cancel()
        leaving.cancel()
        await asyncio.gather(gathering, leaving, return_exceptions=True)


async def _gathered(answer: Answer) -> str:
    return "".join([piece async for piece in answer.pieces()])


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class AnswerStream(StreamingResponse):
    """The answer as events; it is closed when the stream ends, for whatever reason."""

    def __init__(self, wording: Wording, answer: Answer, *, with_usage: bool) -> None:
        super().__init__(_events(wording, answer, with_usage), headers=_HEADERS, media_type="text/event-stream")
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; a client that leaves ends it by the server's cancellation."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.close()


async def _events(wording: Wording, answer: Answer, with_usage: bool) -> AsyncIterator[str]:
    if wording.is_chat:
        yield _event(wording.opening())
    try:
        async with aclosing(answer.pieces()) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield _event(wording.piece(piece))
    except ApiError as error:
        yield f"data: {error_json(describe(error)[1])}\n\n"
        return
    yield _event(wording.end(answer))
    if with_usage:
        yield _event(wording.told_usage(answer))
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
