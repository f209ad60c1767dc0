"""The trail's lines of refused requests: one for each, with ids and codes, and nothing that the caller wrote."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.backbone import trail
from service.backbone.keys import owner_id

CANARY = "chartreuse-canary"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The fields of the lines so far."""
    caplog.set_level(logging.INFO)
    return lambda: [record.fields for record in caplog.records if record.name == trail.__name__]  # type: ignore[attr-defined]


REFUSED = [
    ("GET", f"/v1/jobs/{CANARY}", "/v1/jobs/{job_id}", 404, "job_not_found"),
    ("GET", f"/v1/jobs/{CANARY}?{CANARY}=1", "/v1/jobs/{job_id}", 422, "invalid_params"),
    ("GET", f"/{CANARY}%0a{CANARY}", "-", 404, "not_found"),
    ("POST", "/v1/jobs/", "/v1/jobs", 422, "malformed_json"),
    ("POST", "/v1/sd/generate", "/v1/sd/generate", 400, "malformed_json"),
    ("POST", "/v2/job", "/v2/job", 400, "malformed_json"),
    ("POST", "/sdapi/v1/txt2img", "/sdapi/v1/txt2img", 422, "malformed_json"),
    ("POST", "/v1/images/generations", "/v1/images/generations", 400, "malformed_json"),
    ("GET", f"/v1/models/{CANARY}", "/v1/models/{model_id:path}", 404, "invalid_params"),
    ("HEAD", f"/images/{CANARY}.png", "/images/{image_id}.png", 404, "image_not_found"),
]


@pytest.mark.parametrize(("method", "path", "route", "status", "code"), REFUSED)
def test_a_refusal_has_one_line(
    client: httpx.Client, key: str, lines: Callable[[], list[dict[str, Any]]], method: str, path: str, route: str,
    status: int, code: str,
) -> None:  # fmt: skip
    content = {"content": f'{{"{CANARY}', "headers": {"Content-Type": "application/json"}} if method == "POST" else {}
    answer = client.request(method, path, **content)  # type: ignore[arg-type]
    assert answer.status_code == status
    (line,) = lines()
    assert (line["method"], line["route"], line["status"], line["code"]) == (method, route, status, code)
    assert line.get("key", owner_id(key)) == owner_id(key)
    assert CANARY not in str(line) and key not in str(line)


def test_without_a_key_the_line_has_the_address(
    anonymous: httpx.Client, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    anonymous.get("/v1/models", headers={"X-API-Key": CANARY})
    anonymous.get("/v1/models", headers={"X-Forwarded-For": "203.0.113.7"})
    addresses = [(line["code"], line["address"], "key" in line) for line in lines()]
    assert addresses == [("unauthorized", "127.0.0.1", False), ("unauthorized", "203.0.113.7", False)]


def test_answers_and_probes_have_no_line(client: httpx.Client, lines: Callable[[], list[dict[str, Any]]]) -> None:
    assert client.get("/v1/samplers").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert lines() == []
