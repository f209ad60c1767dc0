"""A language engine made of paper: the far end of the network, speaking chat completions on a real loopback port."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

FLOOD_PIECE = b"x" * (1 << 16)


@dataclass(frozen=True, kw_only=True)
class Say:
    """A proper answer, streamed or whole as the request asks for it."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    """Tool calls: name, and arguments as JSON text."""
    finish_reason: str = "stop"
    delay_s: float = 0.0
    """Before anything is sent."""
    every_s: float = 0.0
    """Between two pieces of a streamed answer."""
    pieces: tuple[str, ...] | None = None
    """How a streamed text is divided; ``None`` is by words."""


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Any bytes as the body, with their proper length."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Hang:
    """Never answers."""


@dataclass(frozen=True, kw_only=True)
class HangUp:
    """Closes the connection after these bytes, which start with a status line or are nothing at all."""

    after: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Drip:
    """A streamed body that begins properly and sends ``piece`` for ever, every ``every_s``."""

    piece: bytes = b": still here\n\n"
    every_s: float = 0.02


@dataclass(frozen=True, kw_only=True)
class Flood:
    """A body far too large; ``sent_bytes`` of the stub tells how much of it was taken."""

    size_bytes: int = 100 << 20
    begin: bytes = b'{"choices": [{"message": {"content": "'


Reply = str | Say | Raw | Hang | HangUp | Drip | Flood
Answer = Reply | Callable[[dict[str, Any]], Reply]


def error(status: int, message: str = "no") -> Raw:
    """An error as OpenAI words it."""
    return Raw(body=json.dumps({"error": {"message": message, "type": "error"}}).encode(), status=status)


HTML = Raw(body=b"<!doctype html><h1>502</h1>", content_type="text/html")
GARBAGE = Raw(body=bytes(range(256)))


def first_allowed(body: Mapping[str, Any]) -> str:
    """The first text that the request's structured outputs allow, as an engine that holds to them might answer.

    Of a ``regex``, groups of alternatives are understood, one in the other too, and escaped characters.
    """
    rules = body.get("structured_outputs") or {}
    if "choice" in rules:
        return str(rules["choice"][0])
    if "regex" not in rules:
        return ", in soft morning light"
    text = str(rules["regex"])
    while (group := re.search(r"(?<!\\)\((?:\?:)?((?:\\.|[^()\\])*)\)(\??)", text)) is not None:
        first = re.split(r"(?<!\\)\|", group[1])[0]
        text = text[: group.start()] + ("" if group[2] else first) + text[group.end() :]
    return re.sub(r"\\(.)", r"\1", text)


@dataclass
class EngineStub:
    """A server in a thread of its own. ::

        with EngineStub() as stub:
            stub.answer_with("a fox", "two foxes")           # one after the other; the last one for ever
            stub.answer_with(lambda body: body["messages"][-1]["content"])
            stub.answer_with(Say(calls=(("look", '{"at": 1}'),)), "done")
            stub.answer_with(Hang())                          # or HangUp, Drip, Flood, Raw, error(503), HTML, GARBAGE
            engine = LanguageEngine(stub.url)

    Until told otherwise it answers :func:`first_allowed`. ``requests`` holds the bodies of the chat completions that
    were asked for, ``headers`` their headers by lower-case name. ``stop`` closes the port and cuts every connection;
    ``start`` opens the same port again.
    """

    served: str = "stub"
    """The name of the model."""
    models: Answer | None = None
    """What ``/v1/models`` answers; ``None`` is a proper list."""
    is_healthy: bool = True
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    sent_bytes: int = 0
    """Of the body of a :class:`Flood`."""
    _answers: list[Answer] = field(default_factory=lambda: [first_allowed])
    _port: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None
    _stopping: asyncio.Event | None = None

    def answer_with(self, *answers: Answer) -> None:
        """What is answered from now on, one after the other; the last one for ever."""
        self._answers = list(answers)

    @property
    def url(self) -> str:
        """The base of the API, with ``/v1``."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; returns when the port is open."""
        is_open = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(is_open)), name="engine stub")
        self._thread.start()
        assert is_open.wait(10)

    def stop(self) -> None:
        """Close the port and all connections; returns when that is done."""
        if self._thread is not None and self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._thread = None

    async def _serve(self, is_open: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                while await self._exchange(reader, writer):
                    pass
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", self._port)
        self._port = server.sockets[0].getsockname()[1]
        is_open.set()
        await self._stopping.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection may be used again."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path = head[0].split(" ")[1]
        if path == "/health":
            reply: Reply = Raw(body=b"", status=200 if self.is_healthy else 503)
        elif path == "/v1/models":
            reply = self._settle(self._list_models() if self.models is None else self.models, {})
        elif path == "/v1/chat/completions":
            asked = json.loads(body)
            self.requests.append(asked)
            self.headers.append(headers)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            reply = self._settle(answer, asked)
            if isinstance(reply, str):
                reply = Say(text=reply)
            if isinstance(reply, Say):
                return await self._say(writer, reply, asked)
        else:
            reply = error(404, f"there is no {path}")
        return await self._misbehave(writer, reply)

    def _settle(self, answer: Answer, asked: dict[str, Any]) -> Reply:
        return answer(asked) if callable(answer) else answer

    def _list_models(self) -> Raw:
        return Raw(body=json.dumps({"object": "list", "data": [{"id": self.served, "object": "model"}]}).encode())

    async def _say(self, writer: asyncio.StreamWriter, say: Say, asked: Mapping[str, Any]) -> bool:
        await asyncio.sleep(say.delay_s)
        if not asked.get("stream"):
            return await self._misbehave(writer, Raw(body=json.dumps(self._completion(say)).encode()))
        writer.write(_stream_head())
        async for event in self._events(say):
            data = event if isinstance(event, str) else json.dumps(event)
            writer.write(_chunk(f"data: {data}\n\n".encode()))
            await writer.drain()
        writer.write(_chunk(b""))
        await writer.drain()
        return True

    def _completion(self, say: Say) -> dict[str, Any]:
        calls = [
            {"id": f"call-{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for number, (name, arguments) in enumerate(say.calls)
        ]
        message = {"role": "assistant", "content": say.text or None, "tool_calls": calls}
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
        choice = {"index": 0, "message": message, "finish_reason": say.finish_reason}
        return {"id": "chat-1", "object": "chat.completion", "model": self.served, "choices": [choice], "usage": usage}

    async def _events(self, say: Say) -> AsyncIterator[dict[str, Any] | str]:
        def event(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
            choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
            return {"id": "chat-1", "object": "chat.completion.chunk", "model": self.served, "choices": [choice]}

        yield event({"role": "assistant", "content": ""})
        for piece in say.pieces or re.findall(r"\s*\S+|\s+$", say.text):
            yield event({"content": piece})
            await asyncio.sleep(say.every_s)
        for number, (name, arguments) in enumerate(say.calls):
            begin = {"index": number, "id": f"call-{number}", "type": "function"}
            yield event({"tool_calls": [begin | {"function": {"name": name, "arguments": ""}}]})
            for piece in re.findall(r".{1,8}", arguments, re.DOTALL):
                yield event({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
                await asyncio.sleep(say.every_s)
        yield event({}, say.finish_reason)
        yield "[DONE]"

    async def _misbehave(self, writer: asyncio.StreamWriter, reply: Reply) -> bool:
        if isinstance(reply, Raw):
            writer.write(_head(reply.status, reply.content_type, f"Content-Length: {len(reply.body)}") + reply.body)
            await writer.drain()
            return True
        if isinstance(reply, Hang):
            await asyncio.Event().wait()
        if isinstance(reply, HangUp):
            writer.write(reply.after)
            await writer.drain()
        if isinstance(reply, Drip):
            writer.write(_stream_head())
            while True:
                writer.write(_chunk(reply.piece))
                await writer.drain()
                await asyncio.sleep(reply.every_s)
        if isinstance(reply, Flood):
            await self._flood(writer, reply)
        return False

    async def _flood(self, writer: asyncio.StreamWriter, flood: Flood) -> None:
        writer.write(_head(200, "application/json", f"Content-Length: {flood.size_bytes}") + flood.begin)
        self.sent_bytes = len(flood.begin)
        while self.sent_bytes < flood.size_bytes:
            piece = FLOOD_PIECE[: flood.size_bytes - self.sent_bytes]
            writer.write(piece)
            await writer.drain()
            self.sent_bytes += len(piece)


def _head(status: int, content_type: str, *lines: str) -> bytes:
    head = [f"HTTP/1.1 {status} Status", f"Content-Type: {content_type}", *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def _stream_head() -> bytes:
    return _head(200, "text/event-stream", "Transfer-Encoding: chunked")


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def sse(*events: object, has_end: bool = True) -> bytes:
    """A streamed answer's body of these events, for :class:`Raw`."""
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {line}\n\n" for line in [*lines, *(["[DONE]"] if has_end else [])]).encode()
