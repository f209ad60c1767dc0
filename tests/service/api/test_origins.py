"""Pages of other origins: CORS where it is allowed, refusal of stored passwords where it is not."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import httpx
import pytest

from service.api.app import create_app
from service.backbone.settings import Settings

PAGE = "http://localhost:5173"
PATHS = ("/sdapi/v1/txt2img", "/v1/images/generations", "/v1/jobs", "/v1/sd/generate", "/v2/job", "/nothing/here")
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-prodia-key,x-api-key,idempotency-key",
}


@pytest.fixture
def allowing(serve, redis_url, data) -> Iterator[httpx.Client]:
    settings = Settings(redis_url=redis_url, data=data, cors_origins=(PAGE,), max_body_bytes=1000)
    with serve(create_app(settings)) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def open_to_all(serve, redis_url, data) -> Iterator[httpx.Client]:
    settings = Settings(redis_url=redis_url, data=data, cors_origins=("*",), prodia_keyless=True)
    with serve(create_app(settings)) as url, httpx.Client(base_url=url) as client:
        yield client


def cors_headers(answer: httpx.Response) -> list[str]:
    return [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", PATHS)
def test_preflights_are_answered_in_every_dialect(allowing, open_to_all, anonymous, path):
    answer = allowing.options(path, headers=PREFLIGHT)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert "x-request-id" in answer.headers
    assert open_to_all.options(path, headers=PREFLIGHT).headers["access-control-allow-origin"] == "*"
    foreign = allowing.options(path, headers={**PREFLIGHT, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers
    assert cors_headers(anonymous.options(path, headers=PREFLIGHT)) == [], "off unless it is set"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/v1/models", b"", 401),
        ("GET", "/sdapi/v1/samplers", b"", 401),
        ("GET", "/nothing", b"", 404),
        ("PUT", "/v2/job", b"", 405),
        ("POST", "/v1/jobs", b"x" * 2000, 413),
        ("GET", "/readyz", b"", 503),
        ("GET", "/healthz", b"", 200),
    ],
)
def test_pages_can_read_errors_too(allowing, method, path, content, status):
    answer = allowing.request(method, path, content=content, headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, PAGE)
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"X-Request-ID", "Retry-After", "Location", "X-Photogram-Reason"} <= set(exposed)
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-origin" not in allowing.get(path, headers={"Origin": "https://evil.example"}).headers


# Passwords that the browser remembers

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://[half"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://other.localhost", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
]
CHANGING = [
    ("/sdapi/v1/txt2img", "text/plain"),
    ("/sdapi/v1/txt2img", "application/json"),
    ("/sdapi/v1/img2img", "text/plain;charset=UTF-8"),
    ("/sdapi/v1/options", "application/x-www-form-urlencoded"),
    ("/sdapi/v1/interrupt", "multipart/form-data; boundary=x"),
    ("/sdapi/v1/extra-single-image", None),
]


def basic(key: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{key}".encode()).decode()}


def post(client: httpx.Client, path: str, content_type: str | None, headers: dict[str, str]) -> httpx.Response:
    sent = {**headers, **({} if content_type is None else {"Content-Type": content_type})}
    return client.post(path, content=json.dumps({"prompt": "", "sampler_name": "no such one"}), headers=sent)


@pytest.mark.parametrize("browser", FOREIGN, ids=str)
@pytest.mark.parametrize(("path", "content_type"), CHANGING)
def test_a_foreign_page_cannot_use_a_remembered_password(anonymous, key, path, content_type, browser):
    answer = post(anonymous, path, content_type, {**basic(key), **browser})
    assert (answer.status_code, answer.json()["error"]) == (403, "Foreign Origin")


@pytest.mark.parametrize("browser", [{}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin", "Origin": "x"}])
@pytest.mark.parametrize(("path", "content_type"), CHANGING)
def test_programs_and_own_pages_pass(anonymous, key, path, content_type, browser):
    assert post(anonymous, path, content_type, {**basic(key), **browser}).status_code != 403


def test_an_old_browser_passes_on_our_own_pages(anonymous, server_url, key):
    own = server_url.replace("http:", "https:")  # a proxy ended TLS and did not say so
    assert post(anonymous, "/sdapi/v1/options", "text/plain", {**basic(key), "Origin": own}).status_code != 403


def test_other_keys_are_known_to_the_page_and_reading_is_harmless(anonymous, key):
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert post(anonymous, "/sdapi/v1/options", None, {"X-API-Key": key, **headers}).status_code != 403
    assert anonymous.get("/sdapi/v1/samplers", headers={**basic(key), **headers}).status_code == 200


def test_an_allowed_origin_may_use_passwords(allowing, key):
    headers = {**basic(key), "Origin": PAGE, "Sec-Fetch-Site": "cross-site"}
    assert post(allowing, "/sdapi/v1/options", "application/json", headers).status_code != 403
    headers["Origin"] = "https://evil.example"
    assert post(allowing, "/sdapi/v1/options", "application/json", headers).status_code == 403


def test_a_foreign_page_cannot_draw_without_a_key(serve, redis_url, data, queued):
    settings = Settings(redis_url=redis_url, data=data, prodia_keyless=True)
    with serve(create_app(settings)) as url, httpx.Client(base_url=url) as client:
        for browser in FOREIGN:
            answer = client.get("/generate?prompt=x", headers=browser)
            assert (answer.status_code, answer.text) == (403, "Foreign Origin")
        assert queued() == 0
        assert client.get("/generate?prompt=x").status_code == 200
        assert client.get("/generate?prompt=x", headers={"Sec-Fetch-Site": "none"}).status_code == 200
        assert queued() == 2
