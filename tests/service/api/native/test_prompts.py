"""Prompts rewritten over HTTP: whatever the language engine does, the answer has a prompt to draw."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest

from models.jobs.rewrite import APPLIED, REFUSED, SKIPPED, STATUSES, TIMEOUT, UNAVAILABLE
from service.api.app import create_app
from service.backbone.settings import Settings
from tests.engine_stub import GARBAGE, HTML, Drip, EngineStub, Flood, Hang, HangUp, Raw, Say, error

PATH = "/v1/prompts/rewrite"
PROMPT = "a fox in the snow"
ADDED = "soft morning light, fine detail"
CATALOG = """
[models.big]
family = "sdxl"
repository = "example/big"
[models.flux]
family = "flux"
repository = "example/flux"
"""


@pytest.fixture
def engine() -> Iterator[EngineStub]:
    """A language engine that goes on from the prompt."""
    with EngineStub() as stub:
        stub.answer_with(f", {ADDED}")
        yield stub


Open = Callable[..., httpx.Client]


@pytest.fixture
def rewriting(engine: EngineStub, settings: Settings, key: str, serve: Any) -> Iterator[Open]:
    """Opens a client of a gateway with the engine; settings may be changed."""
    (settings.data / "catalog.toml").write_text(CATALOG)
    with ExitStack() as stack:

        def open_client(**changes: Any) -> httpx.Client:
            url = stack.enter_context(
                serve(create_app(replace(settings, llm_url=engine.url, llm_deadline_s=1.0, **changes)))
            )
            return stack.enter_context(
                httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20)
            )

        yield open_client


def rewritten(client: httpx.Client, prompt: str = PROMPT, **fields: Any) -> dict[str, Any]:
    answer = client.post(PATH, json={"prompt": prompt, **fields})
    assert answer.status_code == 200, answer.text
    view = answer.json()
    assert view["prompt"] == prompt and view["revised_prompt"].strip()
    assert view["rewrite"]["status"] in STATUSES
    assert (view["revised_prompt"] == prompt) is (view["rewrite"]["status"] != APPLIED)
    return view


def test_a_prompt_is_rewritten(rewriting, engine):
    view = rewritten(rewriting(), model="big", seed=42)
    assert view["revised_prompt"].startswith(PROMPT) and "soft morning light" in view["revised_prompt"]
    assert (view["profile"], view["rewrite"]["engine"]) == ("tags", "stub")
    assert view["rewrite"]["template"].startswith("tags-")
    assert view["rewrite"]["revised_prompt"] == view["revised_prompt"]
    assert 0 < view["tokens"]["count"] <= view["tokens"]["limit"] == 75
    assert view["tokens"]["counted"] == "estimate"
    assert all(PROMPT not in message["content"] for message in engine.requests[0]["messages"][:-2])


def test_the_profile_is_the_model_s_own_unless_it_is_named(rewriting):
    client = rewriting()
    found = [rewritten(client, **fields)["profile"] for fields in (
        {}, {"model": "house"}, {"model": "big"}, {"model": "flux"}, {"model": "big", "profile": "sentence"},
    )]  # fmt: skip
    assert found == ["icons", "icons", "tags", "sentence", "sentence"]


def test_the_same_request_is_answered_from_the_cache(rewriting, engine):
    client = rewriting()
    first = rewritten(client, model="big", seed=1)
    asked = len(engine.requests)
    engine.answer_with(", something else altogether")
    assert rewritten(client, model="big", seed=1)["revised_prompt"] == first["revised_prompt"]
    assert len(engine.requests) == asked
    assert rewritten(client, "a hare in the snow", model="big")["revised_prompt"] != first["revised_prompt"]


def test_tags_of_loras_come_to_stand_behind(rewriting, engine):
    prompt = "<lora:film:0.5>a fox <lora:ink> in the snow <lora:tiny:.00001>"
    view = rewritten(rewriting(), prompt, model="big")
    assert view["revised_prompt"].endswith(" <lora:film:0.5> <lora:ink:1.0> <lora:tiny:0.00001>")
    assert view["revised_prompt"].count("<lora:") == 3
    assert "lora" not in json.dumps(engine.requests)


def test_a_negative_prompt_is_written_where_it_is_wanted(rewriting, engine):
    client = rewriting()
    engine.answer_with(lambda body: "blurry, text" if "negative" in json.dumps(body["messages"][0]) else f", {ADDED}")
    assert rewritten(client, model="big")["revised_negative_prompt"] is None
    assert rewritten(client, model="big", negative_prompt=True)["revised_negative_prompt"]
    assert rewritten(client, model="flux", negative_prompt=True)["revised_negative_prompt"] is None


FAILURES = {
    "500": (error(500), UNAVAILABLE),
    "503": (error(503), UNAVAILABLE),
    "400": (error(400), REFUSED),
    "HTML": (HTML, REFUSED),
    "garbage": (GARBAGE, REFUSED),
    "null": (Raw(body=b"null"), REFUSED),
    "nothing": ("", REFUSED),
    "hangs": (Hang(), TIMEOUT),
    "slow": (Say(text=f", {ADDED}", delay_s=5), TIMEOUT),
    "drips": (Drip(), None),
    "hangs up": (HangUp(), UNAVAILABLE),
    "half an answer": (HangUp(after=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), UNAVAILABLE),
    "flood": (Flood(), None),
    "markup": (", <script>alert(1)</script>, [a|b], (x:9999)", None),
}


@pytest.mark.parametrize(("answer", "status"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_failures_of_the_engine_leave_the_prompt_as_it_is(rewriting, engine, answer, status, stream):
    engine.answer_with(answer)
    client = rewriting()
    if stream:
        with client.stream("POST", PATH, json={"prompt": PROMPT, "model": "big", "stream": True}) as response:
            view = events(response)[-1][1]
    else:
        view = rewritten(client, model="big")
    assert status is None or view["rewrite"]["status"] == status
    if view["rewrite"]["status"] != APPLIED:
        assert view["revised_prompt"] == PROMPT and view["rewrite"]["reason"]
    assert not set("<>[]") & set(view["revised_prompt"])


def test_an_engine_that_is_gone(rewriting, engine):
    client = rewriting()
    engine.stop()
    assert rewritten(client, model="big")["rewrite"]["status"] == UNAVAILABLE


@pytest.mark.parametrize("changes", [{"llm": "off"}, {"llm_url": None}], ids=["off", "none"])
def test_without_an_engine(settings, serve, key, changes):
    with serve(create_app(replace(settings, **{"llm_url": "http://127.0.0.1:9/v1", **changes}))) as url:
        answer = httpx.post(f"{url}{PATH}", json={"prompt": PROMPT}, headers={"X-API-Key": key})
    assert (answer.status_code, answer.json()["revised_prompt"]) == (200, PROMPT)
    assert answer.json()["rewrite"]["status"] == UNAVAILABLE


def test_a_long_prompt_is_left_alone(rewriting, engine):
    view = rewritten(rewriting(), "a fox, " * 1400, model="big")
    assert (view["rewrite"]["status"], engine.requests) == (SKIPPED, [])


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream"), response.read()
    text = "".join(response.iter_text())
    frames = [frame for frame in text.split("\n\n") if frame and not frame.startswith(":")]
    pairs = [frame.removeprefix("event: ").split("\ndata: ") for frame in frames]
    return [(name, json.loads(data)) for name, data in pairs]


def test_a_stream_ends_in_the_whole_answer(rewriting):
    client = rewriting()
    with client.stream(
        "POST", PATH, json={"prompt": f"{PROMPT} <lora:film:1>", "model": "big", "stream": True}
    ) as sent:
        found = events(sent)
    assert [name for name, _ in found[:-1]] == ["delta"] * (len(found) - 1) and len(found) > 1
    name, view = found[-1]
    assert (name, view["rewrite"]["status"]) == ("rewrite", APPLIED)
    assert PROMPT + "".join(data["text"] for _, data in found[:-1]) + " <lora:film:1.0>" == view["revised_prompt"]
    assert rewritten(client, f"{PROMPT} <lora:film:1>", model="big")["revised_prompt"] == view["revised_prompt"]


def test_a_client_that_leaves_ends_the_work(rewriting, engine):
    engine.answer_with(Drip())
    client = rewriting()
    with client.stream("POST", PATH, json={"prompt": PROMPT, "model": "big", "stream": True}) as response:
        assert response.status_code == 200
    engine.answer_with(f", {ADDED}")
    assert rewritten(client, "a hare in a field", model="big")["rewrite"]["status"] == APPLIED


HOSTILE: dict[str, tuple[bytes, str]] = {
    "no prompt": (b"{}", "prompt"),
    "null": (b'{"prompt": null}', "prompt"),
    "number": (b'{"prompt": 5}', "prompt"),
    "empty": (b'{"prompt": ""}', "prompt"),
    "spaces": (b'{"prompt": " \\n\\t"}', "prompt"),
    "tags alone": (b'{"prompt": "<lora:film:1>"}', "prompt"),
    "long": (json.dumps({"prompt": "x" * 10_001}).encode(), "prompt"),
    "surrogate": (b'{"prompt": "\\ud800"}', "prompt"),
    "NUL": (b'{"prompt": "a\\u0000"}', "prompt"),
    "broken tag": (b'{"prompt": "a fox <lora:film"}', "prompt"),
    "other tag": (b'{"prompt": "a fox <hypernet:film>"}', "prompt"),
    "alternation": (b'{"prompt": "[a|b]"}', "prompt"),
    "model": (b'{"prompt": "x", "model": "dreams"}', "model"),
    "model's type": (b'{"prompt": "x", "model": 1}', "model"),
    "profile": (b'{"prompt": "x", "profile": "poem"}', "profile"),
    "empty profile": (b'{"prompt": "x", "profile": ""}', "profile"),
    "seed below": (b'{"prompt": "x", "seed": -1}', "seed"),
    "seed above": (b'{"prompt": "x", "seed": 9007199254740992}', "seed"),
    "seed as text": (b'{"prompt": "x", "seed": "1"}', "seed"),
    "seed as boolean": (b'{"prompt": "x", "seed": true}', "seed"),
    "stream as text": (b'{"prompt": "x", "stream": "yes"}', "stream"),
    "unknown field": (b'{"prompt": "x", "temperature": 2}', "temperature"),
    "a list": (b"[]", "body"),
}


@pytest.mark.parametrize(("content", "field"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies(client, content, field):
    answer = client.post(PATH, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_params")
    assert answer.json()["errors"][0]["field"] == field


def test_keys_and_types(client, anonymous):
    assert anonymous.post(PATH, json={"prompt": PROMPT}).status_code == 401
    assert client.post(PATH, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert (
        client.post(PATH, content=b"{", headers={"Content-Type": "application/json"}).json()["code"] == "malformed_json"
    )
