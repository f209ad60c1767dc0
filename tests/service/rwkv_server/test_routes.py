"""Answers over a real port, to plain HTTP and to OpenAI's own client."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from models.jobs.rewrite import APPLIED, REFUSED
from models.language.budget import Budget, estimate
from models.language.client import LanguageEngine
from models.language.presets import PRESETS
from models.language.profiles import PROFILES
from models.language.rewriting import Rewriter, RewriteRequest
from models.language.rwkv.engine import Engine
from service.rwkv_server.app import create_app
from service.rwkv_server.settings import Limits
from tests.polling import until

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ENDLESS = {"prompt": "on and on", "max_tokens": 10**6, "temperature": 0}
"""Greedily, the tiny model never comes to an end by itself."""


def chat_body(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 12, **more}


@pytest.fixture
def official(rwkv_url: str) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, unchanged."""
    with openai.OpenAI(base_url=f"{rwkv_url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


def streamed(client: httpx.Client, path: str, body: dict[str, Any]) -> list[Any]:
    """The data of all events, parsed."""
    with client.stream("POST", path, json=body | {"stream": True}) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    return list(map(json.loads, lines))


def text_of(events: list[Any]) -> str:
    choices = [event["choices"][0] for event in events if event["choices"]]
    return "".join(choice["delta"].get("content", "") if "delta" in choice else choice["text"] for choice in choices)


def figure(client: httpx.Client, name: str) -> int:
    lines = client.get("/metrics").text.splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"rwkv_{name} "))


def test_a_chat_is_answered_in_openais_shape(rwkv_client: httpx.Client) -> None:
    answer = rwkv_client.post(CHAT, json=chat_body(model="tiny"))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["object"], said["model"]) == ("chat.completion", "tiny")
    (choice,) = said["choices"]
    assert (choice["index"], choice["finish_reason"], choice["message"]["role"]) == (0, "length", "assistant")
    assert choice["message"]["content"]
    usage = said["usage"]
    prompt_tokens = len("User: hello\n\nAssistant:")
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (
        prompt_tokens, 12, prompt_tokens + 12,
    )  # fmt: skip


@pytest.mark.parametrize(("path", "body"), [(CHAT, chat_body()), (TEXT, {"prompt": "hello", "temperature": 0})])
def test_a_stream_says_the_same_as_the_whole(rwkv_client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    whole = rwkv_client.post(path, json=body).json()
    events = streamed(rwkv_client, path, body | {"stream_options": {"include_usage": True}})
    assert text_of(events) == (whole["choices"][0].get("text") or whole["choices"][0]["message"]["content"])
    assert events[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"] == "length"
    told = [event["usage"] for event in events if "usage" in event]
    assert told == [events[-1]["usage"]] and events[-1]["choices"] == []
    assert told[0]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert len({event["id"] for event in events}) == 1
    assert "usage" not in streamed(rwkv_client, path, body)[-1]


def test_openais_client_chats_and_streams(official: openai.OpenAI) -> None:
    assert [model.id for model in official.models.list()] == ["tiny"]
    asked: Any = {"model": "tiny", **chat_body("a cat", max_tokens=20)}
    whole = official.chat.completions.create(**asked)
    chunks = list(official.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 20
    text = official.completions.create(model="tiny", prompt="once", max_tokens=5, temperature=0)
    assert text.choices[0].finish_reason == "length" and text.usage is not None and text.usage.prompt_tokens == 4


def test_openais_client_reads_our_errors(official: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        official.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}], n=2)
    assert (caught.value.param, caught.value.code) == ("n", "unsupported_parameter")
    with pytest.raises(openai.NotFoundError) as missing:
        official.completions.create(model="large", prompt="x")
    assert missing.value.code == "model_not_found"


def test_the_last_message_is_continued(rwkv_client: httpx.Client) -> None:
    messages = [{"role": "user", "content": "expand"}, {"role": "assistant", "content": "a cat, "}]
    body = {"messages": messages, "add_generation_prompt": False, "continue_final_message": True, "temperature": 0}
    chat = rwkv_client.post(CHAT, json=body | {"max_tokens": 12, "stop": []}).json()
    plain = {"prompt": "User: expand\n\nAssistant: a cat, ", "temperature": 0, "max_tokens": 12, "stop": "\n\n"}
    text = rwkv_client.post(TEXT, json=plain).json()
    assert chat["choices"][0]["message"]["content"] == text["choices"][0]["text"]
    assert chat["usage"]["prompt_tokens"] == text["usage"]["prompt_tokens"]


def test_stop_strings_end_the_answer(rwkv_client: httpx.Client) -> None:
    body = {"prompt": "hello", "temperature": 0, "max_tokens": 40}
    text = rwkv_client.post(TEXT, json=body).json()["choices"][0]["text"]
    stop = text[5:8]
    for given in (stop, ["never to be seen", stop]):
        choice = rwkv_client.post(TEXT, json=body | {"stop": given}).json()["choices"][0]
        assert (choice["text"], choice["finish_reason"]) == (text[: text.index(stop)], "stop")
        assert text_of(streamed(rwkv_client, TEXT, body | {"stop": given})) == text[: text.index(stop)]


def test_seeds_repeat_and_sampling_matters(rwkv_client: httpx.Client) -> None:
    def text(**how: Any) -> str:
        body = {"prompt": "hello", "max_tokens": 30, **how}
        said: str = rwkv_client.post(TEXT, json=body).json()["choices"][0]["text"]
        return said

    assert text(seed=1) == text(seed=1) != text(seed=2)
    greedy = text(temperature=0)
    assert text(top_k=1, seed=5) == text(top_p=1e-6) == greedy
    for penalty in ("repetition_penalty", "presence_penalty", "frequency_penalty"):
        assert text(temperature=0, **{penalty: 2}) != greedy


def test_parameters_that_ask_for_nothing_are_no_trouble(rwkv_client: httpx.Client) -> None:
    neutral = {"n": 1, "tools": [], "response_format": {"type": "text"}, "logprobs": False, "logit_bias": None}
    answer = rwkv_client.post(CHAT, json=chat_body(user="me", top_k=-1, seed=None, **neutral))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("content", ["héllo 猫", [{"type": "text", "text": "héllo "}, {"type": "text", "text": "猫"}]])
def test_messages_may_come_in_parts(rwkv_client: httpx.Client, content: Any) -> None:
    body = {"messages": [{"role": "user", "content": content}], "max_completion_tokens": 2}
    expected = len("User: héllo 猫\n\nAssistant:".encode())
    assert rwkv_client.post(CHAT, json=body).json()["usage"]["prompt_tokens"] == expected


def test_eight_streams_at_once_say_what_each_says_alone(rwkv_url: str) -> None:
    bodies = [chat_body(f"{'very ' * number}number {number}", max_tokens=20 + 4 * number) for number in range(8)]
    barrier = threading.Barrier(8)

    def one(body: dict[str, Any]) -> str:
        with httpx.Client(base_url=rwkv_url, timeout=60) as client:
            barrier.wait()
            return text_of(streamed(client, CHAT, body))

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(one, bodies))
    with httpx.Client(base_url=rwkv_url, timeout=60) as client:
        alone = [client.post(CHAT, json=body).json()["choices"][0]["message"]["content"] for body in bodies]
    assert together == alone
    assert len(set(alone)) == 8


def test_a_common_start_is_told_in_the_usage(rwkv_client: httpx.Client) -> None:
    hits = figure(rwkv_client, "prefix_hits_total")
    system = {"role": "system", "content": "You expand short ideas into prompts, and nothing else. " * 3}
    cached = []
    for idea in ("cat", "dog", "fog"):
        body = {"messages": [system, {"role": "user", "content": idea}], "max_tokens": 1}
        usage = rwkv_client.post(CHAT, json=body).json()["usage"]
        cached.append(usage["prompt_tokens_details"]["cached_tokens"])
    start = len(f"System: {system['content'].strip()}\n\nUser: ")
    assert cached[0] < start and cached[2] == start
    assert figure(rwkv_client, "prefix_hits_total") > hits


def test_a_client_that_leaves_frees_its_place(
    byte_engine: Callable[..., Engine], serve_rwkv: Callable[[FastAPI], AbstractContextManager[str]]
) -> None:
    app = create_app(byte_engine(max_sequences=2), "tiny", Limits(completion_tokens=10**6))
    with serve_rwkv(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        with client.stream("POST", TEXT, json=ENDLESS | {"stream": True}) as answer:
            next(answer.iter_lines())
        with pytest.raises(httpx.ReadTimeout):
            client.post(TEXT, json=ENDLESS, timeout=0.5)
        until(lambda: figure(client, "sequences_running") + figure(client, "sequences_waiting") == 0)
        assert 0 < figure(client, "generated_tokens_total") < 10**6


def test_too_many_at_once_are_turned_away(
    byte_engine: Callable[..., Engine], serve_rwkv: Callable[[FastAPI], AbstractContextManager[str]]
) -> None:
    app = create_app(byte_engine(max_sequences=1), "tiny", Limits(waiting=1, completion_tokens=10**6))
    body = ENDLESS | {"stream": True}
    with serve_rwkv(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        with client.stream("POST", TEXT, json=body) as first, client.stream("POST", TEXT, json=body):
            lines = first.iter_lines()  # httpx closes the stream once these are gone
            next(lines)
            until(lambda: figure(client, "sequences_waiting") == 1)
            refused = client.post(TEXT, json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        until(lambda: client.post(TEXT, json={"prompt": "x"}).status_code == 200)


def test_a_model_that_fails_is_told_and_the_server_lives_on(
    byte_engine: Callable[..., Engine],
    serve_rwkv: Callable[[FastAPI], AbstractContextManager[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = byte_engine()
    with serve_rwkv(create_app(engine, "tiny")) as url, httpx.Client(base_url=url, timeout=30) as client:
        with monkeypatch.context() as patch:
            patch.setattr(engine._model, "_top", {})
            whole = client.post(TEXT, json={"prompt": "x"})
            assert (whole.status_code, whole.json()["error"]["type"]) == (500, "server_error")
            with client.stream("POST", TEXT, json={"prompt": "x", "stream": True}) as answer:
                (line,) = [line for line in answer.iter_lines() if line]
            assert json.loads(line.removeprefix("data: "))["error"]["code"] == "internal_error"
        assert client.get("/health").status_code == 200
        assert client.post(TEXT, json={"prompt": "x"}).status_code == 200


async def test_prompts_can_be_sent_to_be_rewritten(rwkv_url: str) -> None:
    engine = LanguageEngine(f"{rwkv_url}/v1")
    budget = Budget(limit=75, counted="estimate", count_plain=estimate)
    rewriter = Rewriter(engine, PRESETS["rwkv-5-world-1b5"])
    for profile in PROFILES.values():
        request = RewriteRequest(prompt="a cat", profile=profile, seed=0, budget=budget, wants_negative=True)
        rewrite = await rewriter.rewrite(request)
        assert rewrite.status in (APPLIED, REFUSED) and rewrite.engine == "tiny", rewrite  # what it writes is noise
    await engine.aclose()
