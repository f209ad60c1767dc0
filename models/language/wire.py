"""What comes over the connection to a language engine, in bounds: whole answers, events of streams, refusals."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import httpx

from models.language.errors import EngineAway, EngineMisbehaved, EngineTimeout, EngineUnavailable, LanguageError

ANSWER_MAX_BYTES = 1 << 20
"""A whole answer, or a stream from its beginning to its end; thousands of tokens take a tenth of it."""
LINE_MAX_BYTES = 1 << 18
"""One event of a stream."""
_MESSAGE_MAX = 300


@contextmanager
def translated() -> Iterator[None]:
    """Everything that a call may raise, as one of our three errors."""
    try:
        yield
    except TimeoutError as error:
        raise EngineTimeout("the language engine did not answer in time") from error
    except httpx.ConnectError as error:
        raise EngineAway("the language engine is not there, or not yet") from error
    except httpx.TransportError as error:
        raise EngineUnavailable(f"the language engine cannot be reached: {type(error).__name__}") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise EngineMisbehaved(f"the language engine's answer cannot be read: {type(error).__name__}") from error


async def bounded(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The body in pieces, at most ``ANSWER_MAX_BYTES`` of it."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise EngineMisbehaved("the language engine compresses its answers")
    size_bytes = 0
    async for piece in response.aiter_raw():
        size_bytes += len(piece)
        if size_bytes > ANSWER_MAX_BYTES:
            raise EngineMisbehaved(f"the language engine answered more than {ANSWER_MAX_BYTES} bytes")
        yield piece


async def events_of(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The data of each event of a stream; comments and other fields are left out."""
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


def refusal(status: int, content: bytes) -> LanguageError:
    """The error that another status than 200 stands for, with the server's own words where it has some."""
    try:
        said = message_of(read_object(content))
    except EngineMisbehaved:
        said = ""
    text = f"the language engine answered {status}" + (f": {said}" if said else "")
    is_busy = status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR
    return EngineUnavailable(text) if is_busy else EngineMisbehaved(text)


def message_of(answer: Mapping[str, Any]) -> str:
    """What an error says for itself, printable and short."""
    error = answer.get("error", answer)
    said = error.get("message") if isinstance(error, Mapping) else error
    return "".join(each if each.isprintable() else " " for each in str(said or "")[:_MESSAGE_MAX])


def read_object(content: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EngineMisbehaved("the language engine answered something that is no JSON") from error
    if not isinstance(answer, Mapping):
        raise EngineMisbehaved("the language engine answered JSON that is no object")
    return answer
