"""Bodies that cannot be served, and bodies that are meant to hurt: always a 4xx in OpenAI's shape."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
USER = {"role": "user", "content": "hi"}


def error(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()["error"]
    assert set(told) == {"message", "type", "param", "code"}
    return told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "auto"),
        ("functions", [{"name": "f"}]),
        ("parallel_tool_calls", False),
        ("structured_outputs", {"regex": "a+"}),
        ("guided_json", {}),
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logprobs", 0),
        ("n", 2),
        ("n", True),
        ("n", "1"),
        ("logit_bias", {"5": 1}),
        ("min_p", 0.1),
        ("echo", True),
        ("stop_token_ids", [1]),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(rwkv_client: httpx.Client, name: str, value: Any) -> None:
    for path, body in ((CHAT, {"messages": [USER]}), (TEXT, {"prompt": "hi"})):
        told = error(rwkv_client.post(path, json=body | {name: value}))
        assert (told["param"], told["code"], told["type"]) == (name, "unsupported_parameter", "invalid_request_error")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "hot"),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_k", -2),
        ("top_k", 1.5),
        ("repetition_penalty", 0),
        ("repetition_penalty", 11),
        ("presence_penalty", 3),
        ("frequency_penalty", -3),
        ("max_tokens", 0),
        ("max_tokens", 601),
        ("max_tokens", 10**30),
        ("max_tokens", True),
        ("seed", 2**63),
        ("seed", 1.5),
        ("stop", [""]),
        ("stop", ["x"] * 17),
        ("stop", "x" * 257),
        ("stop", {"a": 1}),
        ("stream", "yes"),
        ("stream_options", {"include_everything": True}),
        ("no_such_parameter", 1),
        ("model", 5),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(rwkv_client: httpx.Client, name: str, value: Any) -> None:
    for path, body in ((CHAT, {"messages": [USER]}), (TEXT, {"prompt": "hi"})):
        told = error(rwkv_client.post(path, json=body | {name: value}))
        assert told["param"].startswith(name), told


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        "hi",
        [{}],
        [{"role": "tool", "content": "x"}],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}],
        [{"role": "user", "content": "x", "tool_calls": []}],
        [{"role": "user", "content": "x" * 1001}],
        [{"role": "user", "content": "x"}] * 1025,
    ],
)
def test_messages_that_cannot_be_read_are_refused(rwkv_client: httpx.Client, messages: Any) -> None:
    answer = rwkv_client.post(CHAT, json={"messages": messages})
    if len(answer.request.content) > 20_000:
        assert error(answer, 413)["code"] == "body_too_large"
    else:
        assert error(answer)["param"].startswith("messages")


@pytest.mark.parametrize(
    "prompt", [None, "", [], ["a", "b"], [-1], [257], [1.5], [[1]], {"a": 1}, "x" * 1001, [1] * 1001]
)
def test_prompts_that_cannot_be_read_are_refused(rwkv_client: httpx.Client, prompt: Any) -> None:
    assert error(rwkv_client.post(TEXT, json={"prompt": prompt}))["param"].startswith("prompt")


def test_a_prompt_may_be_tokens_up_to_the_last_one(rwkv_client: httpx.Client) -> None:
    answer = rwkv_client.post(TEXT, json={"prompt": [0, 256] * 500, "max_tokens": 1})
    assert answer.status_code == 200 and answer.json()["usage"]["prompt_tokens"] == 1000


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"continue_final_message": True}, "continue_final_message"),
        ({"messages": [USER, {"role": "assistant", "content": "a"}], "continue_final_message": True,
          "add_generation_prompt": True}, "add_generation_prompt"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"max_completion_tokens": 601}, "max_completion_tokens"),
        ({"model": "other"}, "model"),
    ],
)  # fmt: skip
def test_parameters_that_contradict_are_refused(rwkv_client: httpx.Client, more: dict[str, Any], param: str) -> None:
    answer = rwkv_client.post(CHAT, json={"messages": [USER]} | more)
    assert error(answer, 404 if param == "model" else 400)["param"] == param


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b'{"prompt": "a", "prompt": "b"}', 400),
        (b'{"prompt": "a", "temperature": NaN}', 400),
        (b'{"prompt": "a", "temperature": 1e999}', 400),
        (b'{"prompt": "a\\ud800"}', 400),
        (b'{"prompt": "a", "model": "\\ud800"}', 404),
        (b'{"prompt": ' + b"[" * 9000 + b"]" * 9000 + b"}", 400),
        (b'{"prompt": "' + b"x" * 20_000 + b'"}', 413),
    ],
)
def test_hostile_bodies_are_refused_in_the_same_shape(rwkv_client: httpx.Client, content: bytes, status: int) -> None:
    answer = rwkv_client.post(TEXT, content=content, headers={"Content-Type": "application/json"})
    assert "Traceback" not in answer.text
    error(answer, status)


def test_half_a_surrogate_pair_in_a_message_is_refused(rwkv_client: httpx.Client) -> None:
    content = b'{"messages": [{"role": "user", "content": "\\udc00"}]}'
    answer = rwkv_client.post(CHAT, content=content, headers={"Content-Type": "application/json"})
    assert error(answer)["param"] == "messages"


def test_other_types_routes_and_methods_are_refused(rwkv_client: httpx.Client) -> None:
    assert error(rwkv_client.post(CHAT, content=b"x=1", headers={"Content-Type": "text/plain"}), 415)
    assert error(rwkv_client.get(CHAT), 405)["code"] == "method_not_supported"
    assert error(rwkv_client.get("/v1/nothing"), 404)
    assert error(rwkv_client.get("/docs"), 404)
