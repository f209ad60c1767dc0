"""Reads the HTTP responses of a language engine within limits: bodies, event streams and errors."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import httpx

from models.language.errors import EngineAway, EngineMisbehaved, EngineTimeout, EngineUnavailable, LanguageError

ANSWER_MAX_BYTES = 1 << 20
"""The largest body or stream; thousands of tokens take a tenth of it."""
LINE_MAX_BYTES = 1 << 18
"""The largest event of a stream."""
_MESSAGE_MAX = 300


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn the exceptions of a request into a :class:`LanguageError`."""
    try:
        yield
    except TimeoutError as error:
        raise EngineTimeout("the language engine did not answer in time") from error
    except httpx.ConnectError as error:
        raise EngineAway("the language engine is not running, or is still starting") from error
    except httpx.TransportError as error:
        raise EngineUnavailable(f"the language engine cannot be reached: {type(error).__name__}") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise EngineMisbehaved(f"the language engine's answer cannot be read: {type(error).__name__}") from error


async def bounded(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The body in pieces, limited to ``ANSWER_MAX_BYTES``."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise EngineMisbehaved("the language engine compresses its answers")
    size_bytes = 0
    async for piece in response.aiter_raw():
        size_bytes += len(piece)
        if size_bytes > ANSWER_MAX_BYTES:
            raise EngineMisbehaved(f"the language engine answered more than {ANSWER_MAX_BYTES} bytes")
        yield piece


async def events_of(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The data of each server-sent event; comments and other fields are skipped."""
    rest = b""
    async with aclosing(bounded(response)) as pieces:
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > LINE_MAX_BYTES:
                raise EngineMisbehaved(f"the language engine sent an event of more than {LINE_MAX_BYTES} bytes")
            for line in lines:
                field, _, data = line.partition(b":")
                if field == b"data" and data.strip():
                    yield data.strip()


def error_of_status(status: int, content: bytes) -> LanguageError:
    """The error for a status other than 200, with the server's message if it has one."""
    try:
        detail = message_of(read_object(content))
    except EngineMisbehaved:
        detail = ""
    text = f"the language engine answered {status}" + (f": {detail}" if detail else "")
    is_busy = status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR
    return EngineUnavailable(text) if is_busy else EngineMisbehaved(text)


def message_of(answer: Mapping[str, Any]) -> str:
    """The message of an error body, printable and truncated."""
    error = answer.get("error", answer)
    detail = error.get("message") if isinstance(error, Mapping) else error
    return "".join(each if each.isprintable() else " " for each in str(detail or "")[:_MESSAGE_MAX])


def read_object(content: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EngineMisbehaved("the language engine's response is not JSON") from error
    if not isinstance(answer, Mapping):
        raise EngineMisbehaved("the language engine's response is not a JSON object")
    return answer
