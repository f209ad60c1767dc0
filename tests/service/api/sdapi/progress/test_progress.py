"""Progress is shown to the API key that made the calls, and only this key ends them early."""

from __future__ import annotations

import time
from typing import Any

import pytest

from models.jobs.records import JobStatus
from service.backbone.callers import Callers
from service.backbone.connections import connect_async
from service.backbone.keys import owner_id
from tests.service.api.conftest import EXECUTION


def until_shown(client, count: int) -> dict[str, Any]:
    """The progress once it has the call that is waited for, which is noted just after its jobs are queued."""
    deadline = time.monotonic() + 30
    while (shown := client.get("/sdapi/v1/progress").json())["state"]["job_count"] != count:
        assert time.monotonic() < deadline, shown
        time.sleep(0.02)
    return dict(shown)


def test_progress_is_shown_to_the_key_that_asked(client, stranger, calls, worker):
    thread, answers = calls.begin("/sdapi/v1/txt2img", prompt="x", batch_size=2, force_task_id="mon été")
    first, second = calls.queued(2)
    shown = until_shown(client, 2)
    assert (shown["progress"], shown["current_image"]) == (0.01, None)
    assert client.post("/internal/progress", json={"id_task": "mon été"}).json()["queued"] is True
    worker.start(first)
    worker.progress(first, 5, "data:image/png;base64,AAAA")
    worker.progress(first, 10)
    shown = client.get("/sdapi/v1/progress").json()
    assert shown["progress"] == pytest.approx(0.01 + 10 / 20 / 2) and shown["current_image"] == "AAAA"
    assert (shown["state"]["sampling_step"], shown["state"]["sampling_steps"]) == (10, 20)
    task = client.post("/internal/progress", json={"id_task": "mon été"}).json()
    assert (task["active"], task["live_preview"]) == (True, "data:image/png;base64,AAAA")
    seen = {"id_task": "mon été", "id_live_preview": task["id_live_preview"]}
    assert client.post("/internal/progress", json=seen).json()["live_preview"] is None
    assert stranger.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0
    assert stranger.post("/internal/progress", json={"id_task": "mon été"}).json()["active"] is False
    worker.succeed(first)
    assert client.get("/sdapi/v1/progress").json()["state"]["job_no"] == 1
    worker.draw(second)
    thread.join()
    assert len(answers[0].json()["images"]) == 2
    assert client.get("/sdapi/v1/progress").json()["progress"] == 0
    assert client.post("/internal/progress", json={"id_task": "mon été"}).json()["completed"] is True
    assert stranger.post("/internal/progress", json={"id_task": "mon été"}).json()["completed"] is False


def test_interrupting_ends_the_keys_own_calls(client, stranger, calls, worker):
    thread, answers = calls.begin("/sdapi/v1/txt2img", prompt="x", batch_size=3)
    ids = calls.queued(3)
    until_shown(client, 3)
    worker.draw(ids[0])
    worker.start(ids[1])
    assert stranger.post("/sdapi/v1/interrupt").json() == {}
    assert stranger.post("/sdapi/v1/skip").json() is None
    assert worker.ledger.read(ids[2]).status is JobStatus.QUEUED
    assert client.post("/sdapi/v1/interrupt").json() == {}
    assert client.get("/sdapi/v1/progress").json()["state"]["interrupted"] is True
    worker.ledger.cancel(ids[1], EXECUTION)
    thread.join()
    answer = answers[0].json()
    assert answers[0].status_code == 200 and len(answer["images"]) == 1
    assert worker.ledger.read(ids[2]).status is JobStatus.CANCELED


def test_skipping_ends_what_is_being_drawn(client, calls, worker):
    thread, answers = calls.begin("/sdapi/v1/txt2img", prompt="x", batch_size=2)
    first, second = calls.queued(2)
    until_shown(client, 2)
    worker.start(first)
    assert client.post("/sdapi/v1/skip").json() is None
    assert worker.ledger.read(first).is_cancel_requested
    worker.ledger.cancel(first, EXECUTION)
    worker.draw(second)
    thread.join()
    assert len(answers[0].json()["images"]) == 1


async def test_a_call_that_lost_its_gateway_is_not_shown(client, calls, worker, key, redis_url):
    thread, _ = calls.begin("/sdapi/v1/txt2img", prompt="x")
    (job_id,) = calls.queued()
    connection = connect_async(redis_url, "photogram-test")
    callers, owner = Callers(connection), owner_id(key)
    while not (known := await callers.calls(owner)):
        time.sleep(0.02)
    worker.draw(job_id)
    thread.join()
    await callers.begin(owner, known[0])
    assert client.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0
    await connection.aclose(close_connection_pool=True)
