"""Bodies while they arrive: their size, their pace, and the memory of all of them, in the words of each dialect."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from redis import Redis

from service.api.app import create_app
from service.api.body_guard import FREE_BYTES, BodyBudget
from service.api.errors import ApiError
from service.backbone.settings import Settings
from service.strict_json import DEFAULT_LIMITS
from tests.serving import serving

JSON = {"Content-Type": "application/json"}
MIB = 1 << 20
IMAGE = "A" * 100_000

BOMBS: dict[str, bytes] = {
    "brackets": b'{"a":[' + b"[]," * (2 * MIB) + b"[]]}",
    "unknown fields": b'{"kind":"txt2img","params":{'
    + b",".join(b'"f%d":1' % number for number in range(200_000))
    + b"}}",
    "spaces": b"{" + b" " * (8 * MIB) + b"}",
    "deep": b'{"a":' * 300 + b"1" + b"}" * 300,
    "digits": b'{"seed":' + b"1" * (4 * MIB) + b"}",
    "escapes": b'{"prompt":"' + b"\\/" * (4 * MIB) + b'"}',
    "texts": b'{"a":[' + b'"",' * MIB + b"1]}",
}
PATHS = {
    "/v1/jobs": ({413, 422}, "detail"),
    "/v1/preferences": ({413, 422}, "detail"),
    "/v1/prompts/rewrite": ({413, 422}, "detail"),
    "/v1/assist": ({413, 422, 503}, "detail"),
    "/v1/images/generations": ({400, 413}, "error"),
    "/v2/job": ({400, 413}, "error"),
    "/v2/job/async": ({400, 413}, "error"),
    "/sdapi/v1/txt2img": ({413, 422}, "detail"),
    "/sdapi/v1/img2img": ({413, 422}, "detail"),
    "/sdapi/v1/extra-single-image": ({413, 422}, "detail"),
    "/sdapi/v1/extra-batch-images": ({413, 422}, "detail"),
    "/sdapi/v1/png-info": ({413, 422}, "detail"),
    "/sdapi/v1/options": ({413, 422}, "detail"),
    "/sdapi/v1/interrogate": ({413, 422}, "detail"),
    "/internal/progress": ({413, 422}, "detail"),
    "/controlnet/detect": ({413, 422}, "detail"),
    "/v1/sd/generate": ({400, 413}, None),
    "/v1/sd/transform": ({400, 413}, None),
    "/v1/upscale": ({400, 413}, None),
    "/v1/photomaker": ({400, 413}, None),
}


@pytest.fixture(scope="module")
def wide_url(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the default limits of bodies."""
    settings = Settings(redis_url=valkey_url, data=tmp_path_factory.mktemp("wide"))
    with serving(create_app(settings)) as url:
        yield url


@pytest.fixture
def wide(wide_url: str, key: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=wide_url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        yield client


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("path", PATHS)
def test_json_that_costs_more_than_it_may_is_refused_everywhere(wide, queued, path, bomb):
    statuses, reason = PATHS[path]
    answer = wide.request("PATCH" if path == "/v1/preferences" else "POST", path, content=bomb, headers=JSON)
    assert answer.status_code in statuses, answer.text
    assert len(answer.content) < 20_000 and queued() == 0
    assert reason is None or reason in answer.json()


@pytest.mark.parametrize("place", ["job part", "loras of a form"])
@pytest.mark.parametrize("bomb", ["brackets", "unknown fields", "deep", "texts"])
def test_json_in_forms_has_the_same_limits(wide, queued, place, bomb):
    if place == "job part":
        answer = wide.post("/v2/job", files={"job": ("job.json", BOMBS[bomb], "application/json")})
    else:
        form = {"prompt": "x", "loras": BOMBS[bomb][: MIB - 100].decode()}
        answer = wide.post("/v1/images/edits", data=form, files={"image": ("a.png", b"x", "image/png")})
    assert answer.status_code in (400, 413) and len(answer.content) < 20_000
    assert queued() == 0


def test_a_form_may_have_large_files_but_no_large_texts(wide):
    answer = wide.post("/v1/images/edits", data={"prompt": "x" * (MIB + 1)}, files={"image": ("a.png", b"x")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    answer = wide.post("/v1/images/edits", data={"prompt": "x"}, files={"image": ("a.png", b"x" * (2 * MIB))})
    assert answer.status_code == 400


def test_json_with_images_may_be_large_and_the_rest_of_it_not(wide):
    image = "A" * (3 * MIB)
    params = {"prompt": "x", "image": image, "strength": 0.5}
    answer = wide.post("/v1/jobs", json={"kind": "img2img", "params": params})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "params.image")
    answer = wide.post("/v1/jobs", json={"kind": "img2img", "params": {**params, "controls": ["ab" * 10] * 19_000}})
    assert answer.status_code == 422
    answer = wide.post("/v1/jobs", json={"kind": "img2img", "params": {**params, "controls": ["ab" * 1500] * 400}})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


LONG_TEXT = "(a:1.1), <lora:x:1> Steps: 1, " * 300_000
LONG_TEXTS: dict[str, dict[str, Any]] = {
    "/v1/jobs": {"kind": "txt2img", "params": {"prompt": "x", "model": LONG_TEXT}},
    "/v1/jobs?prompt": {"kind": "txt2img", "params": {"prompt": LONG_TEXT}},
    "/sdapi/v1/txt2img": {"prompt": LONG_TEXT},
    "/sdapi/v1/txt2img?infotext": {"prompt": "x", "infotext": LONG_TEXT},
    "/sdapi/v1/img2img": {"prompt": "x", "init_images": [IMAGE], "sampler_name": LONG_TEXT},
    "/v1/sd/transform": {"prompt": LONG_TEXT, "imageUrl": "https://example.com/a.png"},
    "/v2/job": {"type": "inference.sd15.txt2img.v1", "config": {"prompt": LONG_TEXT}},
    "/v2/job?negative": {"type": "inference.sd15.txt2img.v1", "config": {"prompt": "x", "negative_prompt": LONG_TEXT}},
    "/v1/assist": {"message": LONG_TEXT},
}


@pytest.mark.parametrize("path", LONG_TEXTS)
def test_long_texts_are_refused_and_not_repeated(wide, queued, path):
    answer = wide.post(path, json=LONG_TEXTS[path])
    assert answer.status_code in (400, 422, 429, 503), answer.text[:500]
    assert len(answer.content) < 20_000 and len(str(answer.headers)) < 5000 and queued() == 0


MANY = {f"f{number}": 1 for number in range(9000)}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/jobs", {"kind": "txt2img", "params": {"prompt": "x", **MANY}}),
        ("POST", "/v1/jobs", {"kind": "txt2img", "params": {"prompt": "x", "loras": [1] * 15_000}}),
        ("POST", "/v1/jobs", {"kind": "txt2img", "params": {"prompt": "x", "loras": [MANY]}}),
        ("PATCH", "/v1/preferences", MANY),
        ("POST", "/sdapi/v1/options", MANY),
        ("POST", "/sdapi/v1/txt2img", {"prompt": "x", "override_settings": MANY}),
        ("POST", "/v1/images/generations", {"prompt": "x", **MANY}),
    ],
)
def test_only_the_first_problems_of_many_are_answered(wide, queued, method, path, body):
    answer = wide.request(method, path, json=body)
    assert answer.status_code in (400, 422) and len(answer.content) < 20_000
    assert queued() == 0


@pytest.mark.parametrize("path", ["/v1/prompts/rewrite", "/sdapi/v1/options", "/v1/images/generations"])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_json_without_images_is_small(wide, path, is_chunked):
    content = json.dumps({"prompt": "A" * DEFAULT_LIMITS.short_bytes}).encode()
    sent: Any = iter([content[: MIB // 2], content[MIB // 2 :]]) if is_chunked else content
    assert wide.post(path, content=sent, headers=JSON).status_code == 413


def begin(url: str, path: str, key: str, announced: int | None, data: bytes = b"") -> socket.socket:
    """Sends a header and the beginning of a body."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    length = "Transfer-Encoding: chunked" if announced is None else f"Content-Length: {announced}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n{length}"
    )
    framed = b"%x\r\n%s\r\n" % (len(data), data) if announced is None and data else data
    connection.sendall(head.encode() + b"\r\n\r\n" + framed)
    return connection


@pytest.fixture
def hasty_url(redis: Redis, data: Any, redis_url: str) -> Iterator[str]:
    """A server where a body must not pause."""
    with serving(create_app(Settings(redis_url=redis_url, data=data, request_timeout_s=0.3))) as url:
        yield url


@pytest.mark.parametrize("announced", [1000, None])
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/jobs", b'"code": "request_timeout"'),
        ("/v1/sd/generate", b"Request Timeout"),
        ("/v1/images/generations", b'"code": "request_timeout"'),
        ("/v2/job", b"too slowly"),
        ("/sdapi/v1/txt2img", b'"error": "Request Timeout"'),
    ],
)
def test_half_a_body_is_answered_with_408(hasty_url, key, queued, path, words, announced):
    with begin(hasty_url, path, key, announced, b'{"kind":') as connection:
        answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 408") and words in answer
    assert queued() == 0


def test_a_dripping_body_is_answered_with_408_though_it_never_pauses(hasty_url, key):
    with begin(hasty_url, "/v1/jobs", key, 100_000) as connection:
        connection.settimeout(0.05)
        answer = b""
        while not answer:
            connection.sendall(b" ")
            try:
                answer = connection.recv(10_000)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_body_in_pieces_that_is_fast_enough_is_taken(hasty_url, key):
    content = json.dumps({"kind": "txt2img", "params": {"prompt": "x" * 3000}}).encode()
    with begin(hasty_url, "/v1/jobs", key, len(content)) as connection:
        for at in range(0, len(content), 300):
            connection.sendall(content[at : at + 300])
            time.sleep(0.02)
        assert connection.recv(10_000).startswith(b"HTTP/1.1 202")


def test_a_wait_longer_than_the_deadline_of_bodies_is_answered(hasty_url, key):
    with httpx.Client(base_url=hasty_url, headers={"X-API-Key": key}, timeout=20) as client:
        job = client.post("/v1/jobs", json={"kind": "txt2img", "params": {"prompt": "x"}}).json()["id"]
        assert client.get(f"/v1/jobs/{job}", params={"wait": 1}).json()["status"] == "queued"


BUDGET_BYTES = 600_000


@pytest.fixture
def tight_url(redis: Redis, data: Any, redis_url: str) -> Iterator[str]:
    """A server whose bodies may have :data:`BUDGET_BYTES` together."""
    with serving(create_app(Settings(redis_url=redis_url, data=data, max_bodies_bytes=BUDGET_BYTES))) as url:
        yield url


def test_bodies_beyond_the_budget_get_503_and_small_ones_pass(tight_url, key, queued):
    large = json.dumps({"kind": "img2img", "params": {"prompt": "x", "image": "A" * 400_000}}).encode()
    with httpx.Client(base_url=tight_url, headers={"X-API-Key": key}, timeout=20) as client:
        for attempt in range(10):
            with ExitStack() as held:
                for _ in range(2):
                    held.enter_context(begin(tight_url, "/v1/jobs", key, len(large), large[:350_000]))
                time.sleep(0.2 * 2**attempt)  # until both are received: otherwise they are those that are refused
                answer = client.post("/v1/jobs", content=large, headers=JSON)
                if answer.status_code == 422:
                    continue
                assert answer.json()["code"] == "overloaded" and int(answer.headers["retry-after"]) > 0
                chunks = (large[at : at + 50_000] for at in range(0, len(large), 50_000))
                assert client.post("/sdapi/v1/img2img", content=chunks, headers=JSON).json()["error"] == "Overloaded"
                assert client.post("/v1/jobs", json={"kind": "txt2img", "params": {"prompt": "x"}}).status_code == 202
                assert client.get("/healthz").status_code == 200
                break
        deadline = time.monotonic() + 20
        while (answer := client.post("/v1/jobs", content=large, headers=JSON)).status_code == 503:
            assert time.monotonic() < deadline
    assert answer.status_code == 422 and queued() == 1


def test_the_budget_is_given_back():
    budget = BodyBudget(100)
    budget.take(60)
    with pytest.raises(ApiError):
        budget.take(50)
    budget.release(60)
    budget.take(100)
    assert budget.used_bytes == 100 and FREE_BYTES < MIB


@pytest.mark.parametrize("length", ["9" * 30, "1" + "0" * 17])
def test_lengths_beyond_measure_are_refused(wide, length):
    host = wide.base_url
    with socket.create_connection((host.host, host.port), timeout=20) as connection:
        connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: " + length.encode() + b"\r\n\r\n")
        assert connection.recv(10_000).split()[1] in (b"400", b"413")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/images/generations", "/sdapi/v1/txt2img", "/v1/inputs"])
def test_a_compressed_body_is_refused_as_such(client, path):
    answer = client.post(path, content=gzip.compress(b"{}"), headers={**JSON, "Content-Encoding": "gzip"})
    assert answer.status_code == 415 and "compressed bodies are not accepted" in answer.text
    plain = client.post(path, content=b"[]", headers={**JSON, "Content-Encoding": "identity"})
    assert "compressed" not in plain.text


@pytest.mark.parametrize(("size", "is_given_back"), [(5 * MIB, True), (MIB, False)])
def test_memory_is_given_back_after_a_large_body(
    wide: httpx.Client, monkeypatch: pytest.MonkeyPatch, size: int, is_given_back: bool
) -> None:
    asked = []
    monkeypatch.setattr("service.api.body_guard.give_memory_back_soon", lambda: asked.append(True))
    wide.post("/v1/jobs", json={"kind": "img2img", "params": {"prompt": "x", "image": "A" * size}})
    assert asked == [True] * is_given_back
