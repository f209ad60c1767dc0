"""Health checks, and what readiness says about each part."""

from __future__ import annotations

import httpx
import pytest

from service.api.app import create_app
from service.backbone.settings import Settings
from tests.engine_stub import EngineStub


def checks(answer: httpx.Response) -> dict[str, dict[str, object]]:
    """The checks by name, without their names."""
    return {check.pop("name"): check for check in answer.json()["checks"]}


def test_health(anonymous, worker):
    assert anonymous.get("/healthz").json() == {"status": "ok"}
    unready = anonymous.get("/readyz")
    assert (unready.status_code, unready.json()["code"]) == (503, "no_workers")
    assert unready.headers["content-type"] == "application/problem+json"
    assert checks(unready)["workers"] == {
        "status": "failed", "detail": "no worker is alive", "queues": {"agents": 0, "photogram": 0, "training": 0},
    }  # fmt: skip
    worker.ledger.beat("w1")
    ready = anonymous.get("/readyz").json()
    assert (ready["status"], ready["workers"]) == ("ready", 1)
    worker.ledger.sign_off("w1")
    assert anonymous.get("/readyz").status_code == 503


def test_each_part_is_told(anonymous, worker):
    worker.ledger.beat("w1")
    assert checks(anonymous.get("/readyz")) == {
        "storage": {"status": "ok"},
        "redis": {"status": "ok"},
        "workers": {
            "status": "degraded", "detail": "no worker of: agents, training",
            "queues": {"agents": 0, "photogram": 1, "training": 0},
        },
        "models": {"status": "ok"},
        "language": {"status": "off"},
    }  # fmt: skip


def test_a_model_that_cannot_be_loaded_degrades_and_tells_no_secrets(anonymous, client, worker):
    worker.ledger.beat("w1")
    name = client.get("/v1/models").json()["models"][0]["name"]
    worker.ledger.note_model_problem(name, "/home/me/weights are broken")
    answer = anonymous.get("/readyz")
    assert (answer.status_code, checks(answer)["models"]["status"]) == (200, "degraded")
    assert "/home/me" not in answer.text


def test_without_redis_only_what_is_known_is_told(serve, tmp_path):
    with serve(create_app(Settings(redis_url="redis://127.0.0.1:1", data=tmp_path))) as url:
        answer = httpx.get(f"{url}/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
    assert {name: check["status"] for name, check in checks(answer).items()} == {
        "storage": "ok", "redis": "failed", "language": "off",
    }  # fmt: skip


@pytest.mark.parametrize("is_there", [True, False])
def test_a_language_engine_that_is_away_degrades(serve, valkey_url, redis, worker, tmp_path, is_there):
    worker.ledger.beat("w1")
    with EngineStub() as engine:
        url = engine.url if is_there else "http://127.0.0.1:9/v1"
        with serve(create_app(Settings(redis_url=valkey_url, data=tmp_path, llm_url=url))) as server:
            answers = [httpx.get(f"{server}/readyz") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert {checks(answer)["language"]["status"] for answer in answers} == {"ok" if is_there else "degraded"}
