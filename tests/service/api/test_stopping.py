"""A gateway that stops: open waits get 503 in their dialect's shape, streams end whole, and nobody's jobs go on."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from redis import Redis

from service.api.app import create_app
from service.backbone.keyspace import LEASES_KEY, record_key, workers_key
from service.backbone.settings import Settings
from tests.polling import until
from tests.serving import serving

PROMPT = {"prompt": "a red apple"}


class Stopped:
    """A gateway of its own, and one request that is open when it stops."""

    def __init__(self, settings: Settings, key: str) -> None:
        self._stack = ExitStack()
        self._threads = self._stack.enter_context(ThreadPoolExecutor(1))  # first, so that the server stops before it
        self.url = self._stack.enter_context(serving(create_app(settings)))
        self.bearer = {"Authorization": f"Bearer {key}"}
        self.basic = {"Authorization": "Basic " + base64.b64encode(f"me:{key}".encode()).decode()}

    def submit(self, **params: Any) -> str:
        answer = httpx.post(f"{self.url}/v1/jobs", json={"kind": "txt2img", "params": PROMPT}, headers=self.bearer)
        return str(answer.json()["id"])

    def open(self, method: str, path: str, **options: Any) -> Future[httpx.Response]:
        return self._threads.submit(lambda: httpx.request(method, self.url + path, timeout=30, **options))

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture
def gateway(settings: Settings, key: str, redis: Redis) -> Iterator[Stopped]:
    redis.zadd(workers_key(), {"a-worker": time.time() + 3600})
    server = Stopped(settings, key)
    yield server
    server.stop()


def statuses(redis: Redis) -> set[bytes]:
    return {redis.hget(name, "status") for name in redis.scan_iter(record_key(36 * "?"))}


SYNCHRONOUS = {
    "prodia v2": ("/v2/job", {"type": "inference.txt2img.v1", "config": PROMPT}, "bearer", lambda body: body["error"]),
    "openai": ("/v1/images/generations", PROMPT, "bearer", lambda body: body["error"]["message"]),
    "a1111": ("/sdapi/v1/txt2img", PROMPT, "basic", lambda body: body["detail"]),
}


@pytest.mark.parametrize("dialect", SYNCHRONOUS)
def test_synchronous_calls_end_with_503_and_their_jobs_end_with_them(
    gateway: Stopped, redis: Redis, dialect: str
) -> None:
    path, body, headers, message = SYNCHRONOUS[dialect]
    if dialect == "prodia v2":
        body = {**body, "type": _txt2img_type(gateway)}
    waiting = gateway.open("POST", path, json=body, headers=getattr(gateway, headers))
    until(lambda: redis.zcard(LEASES_KEY) == 1 or waiting.done())
    gateway.stop()
    answer = waiting.result()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5"), answer.text
    assert "stops or restarts" in message(answer.json())
    assert statuses(redis) == {b"canceled"} and redis.zcard(LEASES_KEY) == 0


def _txt2img_type(gateway: Stopped) -> str:
    types = httpx.get(f"{gateway.url}/v2/types", headers=gateway.bearer).text
    return next(part for part in json.dumps(types).replace("\\", "").split('"') if "txt2img" in part)


def test_a_long_poll_ends_with_503_and_its_job_goes_on(gateway: Stopped, redis: Redis) -> None:
    job_id = gateway.submit()
    waiting = gateway.open("GET", f"/v1/jobs/{job_id}?wait=60", headers=gateway.bearer)
    time.sleep(0.3)
    gateway.stop()
    answer = waiting.result()
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["code"]) == (503, "5", "stopping")
    assert statuses(redis) == {b"queued"}


def test_the_events_of_a_job_end_whole_and_can_be_resumed(gateway: Stopped, redis: Redis) -> None:
    job_id = gateway.submit()
    waiting = gateway.open("GET", f"/v1/jobs/{job_id}/events", headers=gateway.bearer)
    time.sleep(0.3)
    gateway.stop()
    answer = waiting.result()  # raises an error if the connection is reset
    assert answer.status_code == 200 and answer.text.endswith("retry: 2000\n\n")
    assert statuses(redis) == {b"queued"}


def test_a_stream_of_images_ends_with_an_error(gateway: Stopped, redis: Redis) -> None:
    body = {**PROMPT, "model": "gpt-image-1", "stream": True}
    waiting = gateway.open("POST", "/v1/images/generations", json=body, headers=gateway.bearer)
    until(lambda: redis.zcard(LEASES_KEY) == 1 or waiting.done())
    time.sleep(0.3)
    gateway.stop()
    name, data = waiting.result().text.strip().split("\n")[-2:]
    error = json.loads(data.removeprefix("data: "))["error"]
    assert (name, error["code"], error["type"]) == ("event: error", "stopping", "server_error")
    assert statuses(redis) == {b"canceled"} and redis.zcard(LEASES_KEY) == 0


def test_polled_jobs_have_no_lease(client: httpx.Client, redis: Redis, body: Callable[..., dict[str, Any]]) -> None:
    assert client.post("/v1/jobs", json=body()).status_code == 202
    assert client.post("/v1/sd/generate", json=PROMPT).status_code == 200
    assert redis.zcard(LEASES_KEY) == 0


def test_a_request_that_is_still_being_sent_gets_503(gateway: Stopped) -> None:
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nX-API-Key: {gateway.bearer['Authorization'].split()[1]}\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\nhalf".encode())
        time.sleep(0.3)
        gateway.stop()
        assert client.recv(1000).startswith(b"HTTP/1.1 503 ")
