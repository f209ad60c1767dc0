"""A client of a language engine: any server of OpenAI's chat completions, such as vLLM."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx

from models.language.errors import EngineMisbehaved, LanguageError
from models.language.wire import bounded, error_of_status, events_of, message_of, read_object, translate_errors

CONNECTIONS_MAX = 64
IDLE_S = 2.0
"""How long idle connections are kept: less than the 5 s after which uvicorn (and thus vLLM) closes them."""
LISTING_TIMEOUT_S = 5.0
_NAME_MAX = 200


@dataclass(frozen=True, kw_only=True)
class RawToolCall:
    """A tool call from the engine's own parser; ``arguments`` is unvalidated JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A whole response."""

    text: str
    tool_calls: tuple[RawToolCall, ...] = ()
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class ToolCallDelta:
    """A piece of a tool call; the first piece of an ``index`` has id and name."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A piece of a streamed response."""

    text: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str | None = None


class LanguageEngine:
    """One engine, for use within one event loop.

    Its responses are not trusted: their size is limited, every piece is validated, redirects are not followed, and
    compressed responses are refused.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {b"Accept-Encoding": b"identity"}
        if key is not None:
            headers[b"Authorization"] = f"Bearer {key}".encode()
        self._url = url.rstrip("/")
        self._model = model
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=None,
            verify=url.startswith("https:"),  # loading certificates is slow, and plain HTTP has none
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=IDLE_S),
            transport=transport,
            trust_env=False,
        )

    async def model(self, *, timeout_s: float = LISTING_TIMEOUT_S) -> str:
        """The name of the served model: the configured one, or the first that the server lists (requested once).

        Raises:
            EngineUnavailable, EngineTimeout, EngineMisbehaved.
        """
        if self._model is None:
            with translate_errors():
                async with asyncio.timeout(timeout_s):
                    listing = await self._fetch(self._client.build_request("GET", f"{self._url}/models"))
            names = [entry.get("id") for entry in _mappings(listing.get("data"))]
            if not names or not _is_name(names[0]):
                raise EngineMisbehaved("the language engine lists no models")
            self._model = str(names[0])
        return self._model

    async def is_answering(self, *, timeout_s: float = LISTING_TIMEOUT_S) -> bool:
        """Whether the server lists its models now."""
        try:
            with translate_errors():
                async with asyncio.timeout(timeout_s):
                    await self._fetch(self._client.build_request("GET", f"{self._url}/models"))
        except LanguageError:
            return False
        return True

    async def chat(self, body: Mapping[str, Any], *, timeout_s: float) -> Completion:
        """The whole response to ``body`` (a chat completion request without ``model`` and ``stream``).

        Raises:
            EngineUnavailable: there is no connection, or the status is 429 or 5xx.
            EngineTimeout: the response was not complete after ``timeout_s``.
            EngineMisbehaved: the status is another error, or the response is not a chat completion.
        """
        with translate_errors():
            async with asyncio.timeout(timeout_s):
                return _completion(await self._fetch(await self._request({**body, "stream": False})))

    async def stream(self, body: Mapping[str, Any], *, timeout_s: float) -> AsyncGenerator[Delta, None]:
        """The response in pieces; raises as :meth:`chat`. ``timeout_s`` limits the whole response.

        Close the generator (``contextlib.aclosing``) to disconnect early.
        """
        ends_at = asyncio.get_running_loop().time() + timeout_s
        async with aclosing(self._deltas({**body, "stream": True})) as deltas:
            while True:
                with translate_errors():
                    # not around the yield, where the timeout would interrupt the caller
                    async with asyncio.timeout_at(ends_at):
                        delta = await anext(deltas, None)
                if delta is None:
                    return
                yield delta

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _request(self, body: Mapping[str, Any]) -> httpx.Request:
        content = json.dumps({**body, "model": await self.model()}).encode()
        headers = {"Content-Type": "application/json"}
        return self._client.build_request("POST", f"{self._url}/chat/completions", content=content, headers=headers)

    async def _fetch(self, request: httpx.Request) -> Mapping[str, Any]:
        """The JSON object in the response."""
        response = await self._client.send(request, stream=True)
        try:
            content = b"".join([piece async for piece in bounded(response)])
        finally:
            await response.aclose()
        if response.status_code != httpx.codes.OK:
            raise error_of_status(response.status_code, content)
        return read_object(content)

    async def _deltas(self, body: Mapping[str, Any]) -> AsyncGenerator[Delta, None]:
        """The deltas of a streamed response."""
        response = await self._client.send(await self._request(body), stream=True)
        try:
            if response.status_code != httpx.codes.OK:
                raise error_of_status(response.status_code, b"".join([piece async for piece in bounded(response)]))
            is_finished = False
            async with aclosing(events_of(response)) as events:
                async for data in events:
                    if data == b"[DONE]":
                        return
                    for delta in _read_event(read_object(data)):
                        is_finished = is_finished or delta.finish_reason is not None
                        yield delta
            if not is_finished:
                raise EngineMisbehaved("the language engine's stream ended without a finish reason")
        finally:
            await response.aclose()


def _completion(answer: Mapping[str, Any]) -> Completion:
    choice = next(iter(_mappings(answer.get("choices"))), None)
    message = None if choice is None else choice.get("message")
    if choice is None or not isinstance(message, Mapping):
        raise EngineMisbehaved("the language engine's response has no message")
    usage = answer.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    return Completion(
        text=_text(message.get("content")),
        tool_calls=tuple(_tool_call(*each) for each in enumerate(_mappings(message.get("tool_calls")))),
        finish_reason=_word(choice.get("finish_reason")),
        prompt_tokens=_count(counts.get("prompt_tokens")),
        completion_tokens=_count(counts.get("completion_tokens")),
    )


def _tool_call(number: int, call: Mapping[str, Any]) -> RawToolCall:
    function = call.get("function")
    if not isinstance(function, Mapping) or not _is_name(function.get("name")):
        raise EngineMisbehaved("the language engine called a tool without a name")
    return RawToolCall(
        id=_word(call.get("id")) or f"call-{number}",
        name=function["name"],
        arguments=_text(function.get("arguments")),
    )


def _read_event(event: Mapping[str, Any]) -> Iterator[Delta]:
    """The delta of one event; none if it has no choices, like the last event with the token counts."""
    if event.get("error") is not None:
        raise EngineMisbehaved(f"the language engine failed: {message_of(event)}")
    for choice in _mappings(event.get("choices"))[:1]:
        delta = choice.get("delta")
        if not isinstance(delta, Mapping):
            raise EngineMisbehaved("the language engine sent an event without a delta")
        yield Delta(
            text=_text(delta.get("content")),
            tool_calls=tuple(_tool_call_delta(*each) for each in enumerate(_mappings(delta.get("tool_calls")))),
            finish_reason=_word(choice.get("finish_reason")),
        )


def _tool_call_delta(number: int, call: Mapping[str, Any]) -> ToolCallDelta:
    function = call.get("function")
    named = function if isinstance(function, Mapping) else {}
    return ToolCallDelta(
        index=_count(call.get("index", number)),
        id=_word(call.get("id")),
        name=_word(named.get("name")),
        arguments=_text(named.get("arguments")),
    )


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """``value`` as a list of objects; ``None`` is an empty list."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise EngineMisbehaved("the language engine answered something else where a list of objects belongs")
    return value


def _text(value: Any) -> str:
    """``value`` as text; ``None`` is empty."""
    if not isinstance(value, str | None):
        raise EngineMisbehaved("the language engine's response has another type in place of text")
    return (value or "").encode(errors="replace").decode()  # JSON may contain lone surrogates


def _word(value: Any) -> str | None:
    """``value`` as a short text; ``None`` if it is empty or missing."""
    return _text(value)[:_NAME_MAX] or None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _NAME_MAX and value.isprintable()


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
