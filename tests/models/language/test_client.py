"""The client of language engines against an engine that goes as it likes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from models.language.client import Delta, LanguageEngine
from models.language.errors import EngineMisbehaved, EngineTimeout, EngineUnavailable
from models.language.wire import ANSWER_MAX_BYTES, LINE_MAX_BYTES
from tests.engine_stub import GARBAGE, HTML, Drip, EngineStub, Flood, Hang, HangUp, Raw, Say, error, sse

SOON_S = 0.3
BODY = {"messages": [{"role": "user", "content": "hello \udcff"}]}


@pytest.fixture
def stub() -> Iterator[EngineStub]:
    with EngineStub() as stub:
        yield stub


@pytest.fixture
async def engine(stub: EngineStub) -> AsyncIterator[LanguageEngine]:
    engine = LanguageEngine(stub.url, key="sécret")
    yield engine
    await engine.aclose()


async def read(engine: LanguageEngine, timeout_s: float = 5.0) -> list[Delta]:
    async with aclosing(engine.stream(BODY, timeout_s=timeout_s)) as deltas:
        return [delta async for delta in deltas]


def whole(**message: object) -> Raw:
    return Raw(body=json.dumps({"choices": [{"message": message}]}).encode())


async def test_a_whole_answer(stub: EngineStub, engine: LanguageEngine) -> None:
    stub.answer_with(Say(text="a fox", calls=(("look", '{"at": 1}'),), finish_reason="length"))
    answer = await engine.chat(BODY | {"max_tokens": 5}, timeout_s=5)
    assert (answer.text, answer.finish_reason) == ("a fox", "length")
    assert (answer.prompt_tokens, answer.completion_tokens) == (7, 5)
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [("call-0", "look", '{"at": 1}')]
    assert stub.requests == [BODY | {"max_tokens": 5, "model": "stub", "stream": False}]
    assert stub.headers[0]["authorization"].encode("latin-1").decode() == "Bearer sécret"


async def test_a_streamed_answer(stub: EngineStub, engine: LanguageEngine) -> None:
    stub.answer_with(Say(text="a red fox", calls=(("look", '{"at": "the moon"}'),)))
    deltas = await read(engine)
    assert "".join(delta.text for delta in deltas) == "a red fox" and len(deltas) > 4
    calls = [call for delta in deltas for call in delta.tool_calls]
    assert (calls[0].id, calls[0].name) == ("call-0", "look") and {call.index for call in calls} == {0}
    assert "".join(call.arguments for call in calls) == '{"at": "the moon"}'
    assert deltas[-1].finish_reason == "stop"
    assert stub.requests[0]["stream"] is True


async def test_the_model_is_asked_for_once_and_may_be_given(stub: EngineStub, engine: LanguageEngine) -> None:
    assert await engine.model() == "stub"
    stub.served = "another"
    assert await engine.model() == "stub"
    given = LanguageEngine(stub.url, model="mine")
    await given.chat(BODY, timeout_s=5)
    await given.aclose()
    assert stub.requests[0]["model"] == "mine"


@pytest.mark.parametrize("listing", [HTML, Raw(body=b"[]"), Raw(body=b"{}"), Raw(body=b'{"data": [{"id": 7}]}'),
                                     Raw(body=b'{"data": [{"id": "a\\nb"}]}'), Raw(body=b'{"data": "x"}')])  # fmt: skip
async def test_a_listing_without_models(stub: EngineStub, engine: LanguageEngine, listing: Raw) -> None:
    stub.models = listing
    with pytest.raises(EngineMisbehaved):
        await engine.chat(BODY, timeout_s=5)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_an_engine_that_cannot_serve(stub: EngineStub, engine: LanguageEngine, status: int) -> None:
    stub.answer_with(error(status, "overloaded"))
    with pytest.raises(EngineUnavailable, match=f"{status}: overloaded"):
        await engine.chat(BODY, timeout_s=5)
    with pytest.raises(EngineUnavailable, match="overloaded"):
        await read(engine)


async def test_an_engine_that_refuses_says_why_in_few_words(stub: EngineStub, engine: LanguageEngine) -> None:
    stub.answer_with(error(400, "too long\x1b[31m\n" + 5000 * "x"))
    with pytest.raises(EngineMisbehaved, match="400: too long") as refused:
        await engine.chat(BODY, timeout_s=5)
    assert len(str(refused.value)) < 400 and str(refused.value).isprintable()


async def test_redirects_are_not_followed(stub: EngineStub, engine: LanguageEngine) -> None:
    stub.answer_with(HangUp(after=b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(EngineMisbehaved, match="307"):
        await engine.chat(BODY, timeout_s=5)


BROKEN = [
    HTML, GARBAGE, Raw(body=b""), Raw(body=b"null"), Raw(body=b"[" * 100_000), Raw(body=b"9" * 10_000),
    Raw(body=b"{}"), Raw(body=b'{"choices": []}'), Raw(body=b'{"choices": {}}'), Raw(body=b'{"choices": [null]}'),
    Raw(body=b'{"choices": [{"message": "a fox"}]}'), whole(content=["a fox"]), whole(content=7),
    whole(content="", tool_calls="look"), whole(content="", tool_calls=[{"function": {"arguments": "{}"}}]),
    whole(content="", tool_calls=[{"function": {"name": "look", "arguments": {"at": 1}}}]),
]  # fmt: skip


@pytest.mark.parametrize("answer", BROKEN)
async def test_whole_answers_that_make_no_sense(stub: EngineStub, engine: LanguageEngine, answer: Raw) -> None:
    stub.answer_with(answer)
    with pytest.raises(EngineMisbehaved):
        await engine.chat(BODY, timeout_s=5)


FINISHED = {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("body", [
    sse("no json"), sse([1]), sse({"choices": "x"}), sse({"choices": [{"delta": "a"}]}), sse({"choices": [{}]}),
    sse({"choices": [{"delta": {"content": 7}}]}), sse({"choices": [{"delta": {"tool_calls": [7]}}]}),
    sse({"error": {"message": "out of memory"}}), sse({"choices": [{"delta": {"content": "a"}}]}, has_end=False),
    b"<!doctype html>", b"", b"data: " + LINE_MAX_BYTES * b"x", bytes(range(256)),
])  # fmt: skip
async def test_streams_that_make_no_sense(stub: EngineStub, engine: LanguageEngine, body: bytes) -> None:
    stub.answer_with(Raw(body=body, content_type="text/event-stream"))
    with pytest.raises(EngineMisbehaved):
        await read(engine)


async def test_streams_may_hold_more_than_answers(stub: EngineStub, engine: LanguageEngine) -> None:
    counts = {"choices": [], "usage": {"prompt_tokens": 7}}
    body = b": comment\r\nevent: message\r\n\r\n" + sse(FINISHED, counts, has_end=False).replace(b"\n", b"\r\n")
    stub.answer_with(Raw(body=body))
    assert [delta.text for delta in await read(engine)] == ["a"]


async def test_halves_of_characters_are_replaced(stub: EngineStub, engine: LanguageEngine) -> None:
    stub.answer_with(Raw(body=b'{"choices": [{"message": {"content": "a \\ud800 fox"}}]}'))
    assert (await engine.chat(BODY, timeout_s=5)).text == "a ? fox"


async def test_an_answer_that_is_far_too_large_is_not_read(stub: EngineStub, engine: LanguageEngine) -> None:
    stub.answer_with(Flood())
    with pytest.raises(EngineMisbehaved, match="more than"):
        await engine.chat(BODY, timeout_s=10)
    assert stub.sent_bytes < 16 * ANSWER_MAX_BYTES  # what lies in buffers between


async def test_compressed_answers_are_refused(stub: EngineStub, engine: LanguageEngine) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nbomb"
    stub.answer_with(HangUp(after=head))
    with pytest.raises(EngineMisbehaved, match="compresses"):
        await engine.chat(BODY, timeout_s=5)


@pytest.mark.parametrize("after", [
    b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", b"\x00\x01\x02", b"HTTP/1.1 200 OK\r\nContent-Le",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:",
])  # fmt: skip
async def test_a_connection_that_breaks(stub: EngineStub, engine: LanguageEngine, after: bytes) -> None:
    stub.answer_with(HangUp(after=after))
    with pytest.raises(EngineUnavailable):
        await engine.chat(BODY, timeout_s=5)
    with pytest.raises(EngineUnavailable):
        await read(engine)


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        engine = LanguageEngine(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", model="stub")
        with pytest.raises(EngineUnavailable):
            await engine.chat(BODY, timeout_s=5)
    await engine.aclose()


async def test_an_engine_that_comes_back_is_found_again(stub: EngineStub, engine: LanguageEngine) -> None:
    await engine.chat(BODY, timeout_s=5)
    stub.stop()
    with pytest.raises(EngineUnavailable):
        await engine.chat(BODY, timeout_s=5)
    stub.start()
    assert (await engine.chat(BODY, timeout_s=5)).text


@pytest.mark.parametrize("answer", [Hang(), Drip()])
async def test_no_answer_in_time(stub: EngineStub, engine: LanguageEngine, answer: Hang | Drip) -> None:
    stub.answer_with(answer)
    with pytest.raises(EngineTimeout):
        await engine.chat(BODY, timeout_s=SOON_S)
    with pytest.raises(EngineTimeout):
        await read(engine, SOON_S)


async def test_a_stream_has_its_time_as_a_whole(stub: EngineStub, engine: LanguageEngine) -> None:
    stub.answer_with(Say(text="x " * 1000, every_s=0.02))
    with pytest.raises(EngineTimeout):
        await read(engine, SOON_S)


async def test_a_slow_reader_of_a_stream_is_not_interrupted(stub: EngineStub, engine: LanguageEngine) -> None:
    stub.answer_with(Say(text="a fox"))
    async with aclosing(engine.stream(BODY, timeout_s=SOON_S)) as deltas:
        await anext(deltas)
        await asyncio.sleep(2 * SOON_S)
