"""Bodies and headers that nobody should send: each is refused in its dialect's words, and nothing is queued."""

from __future__ import annotations

import json

import pytest

JSON = {"Content-Type": "application/json"}
HUGE = 10**4000


def params(**changes: object) -> bytes:
    return json.dumps({"kind": "txt2img", "params": {"prompt": "x", **changes}}).encode()


def raw(text: str) -> bytes:
    return b'{"kind":"txt2img","params":{"prompt":"x",' + text.encode() + b"}}"


INVALID = {
    "unknown field": (params(widht=64), "params.widht"),
    "unknown field outside": (b'{"kind":"txt2img","params":{"prompt":"x"},"extra":1}', "extra"),
    "unknown kind": (b'{"kind":"txt2song","params":{"prompt":"x"}}', "kind"),
    "no kind": (b'{"params":{"prompt":"x"}}', "kind"),
    "no params": (b'{"kind":"txt2img"}', "params"),
    "no prompt": (b'{"kind":"txt2img","params":{}}', "params.prompt"),
    "null prompt": (params(prompt=None), "params.prompt"),
    "NUL in the prompt": (params(prompt=" \0"), "params.prompt"),
    "long prompt": (params(prompt="x" * 10_001), "params.prompt"),
    "long negative prompt": (params(negative_prompt="x" * 10_001), "params.negative_prompt"),
    "surrogate": (raw('"negative_prompt":"\\ud800"'), "params.negative_prompt"),
    "surrogate in a name": (raw('"\\ud800":1'), "params"),
    "surrogate as model": (raw('"model":"\\ud800"'), "params.model"),
    "nul in the prompt": (params(prompt="a\0b"), "params.prompt"),
    "unknown sampler": (params(sampler="Euler z"), "params.sampler"),
    "unknown model": (params(model="dreams"), "params.model"),
    "endless model": (params(model="m" * 50_000), "params.model"),
    "size below": (params(width=56), "params.width"),
    "size above": (params(height=2056), "params.height"),
    "size not a multiple": (params(width=100), "params.width"),
    "size of zero": (params(width=0), "params.width"),
    "no steps": (params(num_inference_steps=0), "params.num_inference_steps"),
    "too many steps": (params(num_inference_steps=1000), "params.num_inference_steps"),
    "negative seed": (params(seed=-2), "params.seed"),
    "large seed": (params(seed=2**53), "params.seed"),
    "huge seed": (params(seed=HUGE), "params.seed"),
    "huge width": (params(width=HUGE), "params.width"),
    "huge guidance": (params(guidance_scale=HUGE), "params.guidance_scale"),
    "infinite guidance": (raw('"guidance_scale":1e400'), "params.guidance_scale"),
    "negative guidance": (params(guidance_scale=-1), "params.guidance_scale"),
    "string for a number": (params(width="64"), "params.width"),
    "boolean for a number": (params(seed=True), "params.seed"),
    "boolean for a fraction": (params(guidance_scale=True), "params.guidance_scale"),
    "whole fraction": (params(num_inference_steps=20.0), "params.num_inference_steps"),
    "list for text": (params(prompt=["x"]), "params.prompt"),
    "number for text": (params(prompt=5), "params.prompt"),
    "object for a number": (params(seed={"$gt": 1}), "params.seed"),
    "a list": (b"[]", "body"),
    "a string": (b'"x"', "body"),
    "null": (b"null", "body"),
    "many unknown fields": (json.dumps({f"f{i}": i for i in range(5000)}).encode(), "kind"),
}  # fmt: skip

MALFORMED = {
    "nothing": b"",
    "half": b'{"kind":',
    "text": b"hello",
    "NaN": raw('"guidance_scale":NaN'),
    "Infinity": raw('"guidance_scale":Infinity'),
    "-Infinity": raw('"guidance_scale":-Infinity'),
    "name twice": raw('"seed":1,"seed":2'),
    "digits without end": raw('"seed":' + "9" * 5000),
    "deep": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "Latin-1": '{"kind":"txt2img","params":{"prompt":"ü"}}'.encode("latin-1"),
    "UTF-16": '{"kind":"txt2img"}'.encode("utf-16"),
    "two documents": params() + params(),
}


def assert_problem(answer, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"/docs/errors#{code}")
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["title"] and problem["detail"] and len(answer.content) < 20_000


@pytest.mark.parametrize(("content", "field"), INVALID.values(), ids=INVALID)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_invalid_native_bodies(client, queued, method, content, field):
    path = "/v1/jobs" if method == "POST" else "/v1/jobs/mine"
    answer = client.request(method, path, content=content, headers=JSON)
    assert_problem(answer, 422, "invalid_params")
    errors = answer.json()["errors"]
    assert errors[0]["field"] == field and errors[0]["message"] and len(errors) <= 32
    assert queued() == 0


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_malformed_native_bodies(client, queued, content):
    assert_problem(client.post("/v1/jobs", content=content, headers=JSON), 422, "malformed_json")
    assert queued() == 0


PRODIA_INVALID = {
    "no prompt": {},
    "null prompt": {"prompt": None},
    "NUL in the prompt": {"prompt": "\0"},
    "number as prompt": {"prompt": 5},
    "long prompt": {"prompt": "x" * 10_001},
    "nul": {"prompt": "a\0"},
    "surrogate": {"prompt": "\ud800"},
    "sampler": {"prompt": "x", "sampler": "DPM adaptive"},
    "fraction of a step": {"prompt": "x", "steps": 20.5},
    "word for a number": {"prompt": "x", "steps": "many"},
    "boolean": {"prompt": "x", "steps": True},
    "no steps": {"prompt": "x", "steps": 0},
    "many steps": {"prompt": "x", "steps": 1000},
    "no size": {"prompt": "x", "width": 0},
    "size above": {"prompt": "x", "width": 2056},
    "huge size": {"prompt": "x", "width": HUGE},
    "huge seed": {"prompt": "x", "seed": HUGE},
    "huge cfg": {"prompt": "x", "cfg_scale": HUGE},
    "NaN in a string": {"prompt": "x", "cfg_scale": "nan"},
    "infinity in a string": {"prompt": "x", "cfg_scale": "inf"},
    "aspect ratio": {"prompt": "x", "aspect_ratio": "round"},
    "upscale in words": {"prompt": "x", "upscale": "twice"},
    "style": {"prompt": "x", "style_preset": "baroque"},
    "a list": [],
}


def assert_prodia_error(answer, status: int, text: str) -> None:
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers["content-type"].startswith("text/plain")
    reason = answer.headers["x-photogram-reason"]
    assert 0 < len(reason) <= 500 and reason.isascii() and reason.isprintable()


@pytest.mark.parametrize("document", PRODIA_INVALID.values(), ids=PRODIA_INVALID)
def test_invalid_prodia_bodies(client, queued, document):
    answer = client.post("/v1/sd/generate", content=json.dumps(document), headers=JSON)
    assert_prodia_error(answer, 400, "Invalid Generation Parameters")
    assert queued() == 0


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_malformed_prodia_bodies(client, queued, content):
    answer = client.post("/v1/sd/generate", content=content, headers=JSON)
    assert_prodia_error(answer, 400, "Invalid Generation Parameters")
    assert queued() == 0


def test_prodia_reasons_name_prodia_fields(client):
    answer = client.post("/v1/sd/generate", json={"prompt": "x", "steps": 0, "cfg_scale": 99})
    assert answer.headers["x-photogram-reason"] == "steps: must be from 1 to 150; cfg_scale: must be from 0 to 50"


@pytest.mark.parametrize("size", [100_001, 3_000_000])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_large_bodies(client, queued, size, announced):
    content = b"x" * size
    chunks = content if announced else (content[at : at + 65536] for at in range(0, size, 65536))
    assert_problem(client.post("/v1/jobs", content=chunks, headers=JSON), 413, "body_too_large")
    chunks = content if announced else (content[at : at + 65536] for at in range(0, size, 65536))
    assert_prodia_error(client.post("/v1/sd/generate", content=chunks, headers=JSON), 413, "Body Too Large")
    assert client.get("/healthz").status_code == 200
    assert queued() == 0


def test_a_chunked_body_within_the_limit_is_taken(client, queued):
    content = params()
    answer = client.post("/v1/jobs", content=(content[at : at + 7] for at in range(0, len(content), 7)), headers=JSON)
    assert (answer.status_code, queued()) == (202, 1)


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", "ü/\x01"]
)
def test_other_content_types(client, queued, content_type):
    headers = {} if content_type is None else {b"Content-Type": content_type.encode("latin-1")}
    answer = client.post("/v1/jobs", content=params(), headers=headers)
    if (
        answer.headers["content-type"] != "text/plain; charset=utf-8"
    ):  # the HTTP parser refuses control characters itself
        assert_problem(answer, 415, "unsupported_media_type")
    assert answer.status_code in (400, 415) and queued() == 0


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"])
def test_content_types_that_mean_json(client, content_type):
    assert client.post("/v1/jobs", content=params(), headers={"Content-Type": content_type}).status_code == 202


@pytest.mark.parametrize("header", [b"Authorization", b"X-API-Key", b"X-Prodia-Key"])
@pytest.mark.parametrize(
    "value", [b"wrong", b"Bearer wrong", b"Bearer", b"Basic d3Jvbmc=", b"", b"\xff\xfe\xf0", b"x" * 20_000]
)
def test_wrong_keys(anonymous, queued, header, value):
    native = anonymous.post("/v1/jobs", content=params(), headers={**JSON, header: value})
    assert_problem(native, 401, "unauthorized")
    prodia = anonymous.post("/v1/sd/generate", content=b'{"prompt":"x"}', headers={**JSON, header: value})
    assert_prodia_error(prodia, 401, "Key Not Recognised")
    assert queued() == 0


def test_without_a_key_the_body_is_not_even_looked_at(anonymous):
    assert_problem(anonymous.post("/v1/jobs", content=b"{"), 401, "unauthorized")


@pytest.mark.parametrize("header", [b"Host", b"X-Request-ID", b"User-Agent", b"Accept", b"Idempotency-Key", b"Cookie"])
@pytest.mark.parametrize("value", [b"\xff\xfe", b"[::1", b"a b@c/d", b"%00", b"\xed\xa0\x80"])
def test_weird_headers_break_nothing(client, header, value):
    answer = client.post("/v1/jobs", content=params(), headers={**JSON, header: value})
    assert answer.status_code in (202, 400)
    assert client.get("/healthz").status_code == 200
