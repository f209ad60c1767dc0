"""What A1111 keeps for everybody, kept for each key: options, progress, interrupting; and calls that end early."""

from __future__ import annotations

import time

import httpx
import pytest

from models.errors import InputUnavailable
from models.jobs.records import JobStatus
from service.backbone.callers import Callers
from service.backbone.connections import connect_async
from service.backbone.keys import owner_id
from tests.service.api.conftest import EXECUTION
from tests.service.api.sdapi.sdapi_calls import QUEUE_KEY, Calls


@pytest.fixture
def calls(client, worker, redis) -> Calls:
    return Calls(client, worker, redis)


def test_options_are_kept_for_one_key(client, stranger, calls):
    assert client.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 2}).json() is None
    assert client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "house"}).json() is None
    assert client.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 2
    assert stranger.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 1
    refused = client.post("/sdapi/v1/txt2img", json={"prompt": "a cat"})
    assert (refused.status_code, "clip_skip" in refused.text or "CLIP_stop" in refused.text) == (422, True)
    assert calls.job("txt2img", override_settings={"CLIP_stop_at_last_layers": 1}).params.clip_skip == 1
    assert Calls(stranger, calls.worker, calls.redis).job("txt2img").params.clip_skip == 1


def test_all_options_may_be_sent_back(client):
    shown = client.get("/sdapi/v1/options").json()
    assert shown["sd_model_checkpoint"].startswith("house.safetensors [") and shown["samples_format"] == "png"
    assert client.post("/sdapi/v1/options", json={**shown, "sd_checkpoint_hash": "old"}).status_code == 200
    assert client.get("/sdapi/v1/options").json() == shown


@pytest.mark.parametrize(
    "options",
    [
        {"sd_model_checkpoint": "nobody's"}, {"sd_model_checkpoint": 5}, {"CLIP_stop_at_last_layers": True},
        {"CLIP_stop_at_last_layers": "two"}, {"samples_format": "gif"}, {"jpeg_quality": 101}, {"sd_vae": "other.pt"},
        {"randn_source": "NV"}, {"eta_noise_seed_delta": 31337}, {"nobody's": 1}, {"tiling": True},
    ],
)  # fmt: skip
def test_options_that_cannot_be_had_are_refused(client, options):
    for path, body, place in (
        ("options", options, []),
        ("txt2img", {"prompt": "x", "override_settings": options}, ["override_settings"]),
    ):
        answer = client.post(f"/sdapi/v1/{path}", json=body)
        assert answer.status_code == 422
        (problem,) = answer.json()["detail"]
        assert problem["loc"] == ["body", *place, *options] and problem["msg"]


def test_progress_is_shown_to_the_key_that_asked(client, stranger, calls, worker):
    thread, answers = calls.begin("/sdapi/v1/txt2img", prompt="x", batch_size=2, force_task_id="mine")
    first, second = calls.queued(2)
    shown = client.get("/sdapi/v1/progress").json()
    assert (shown["progress"], shown["state"]["job_count"], shown["current_image"]) == (0.01, 2, None)
    assert client.post("/internal/progress", json={"id_task": "mine"}).json()["queued"] is True
    worker.start(first)
    worker.progress(first, 5, "data:image/png;base64,AAAA")
    worker.progress(first, 10)
    shown = client.get("/sdapi/v1/progress").json()
    assert shown["progress"] == pytest.approx(0.01 + 10 / 20 / 2) and shown["current_image"] == "AAAA"
    assert (shown["state"]["sampling_step"], shown["state"]["sampling_steps"]) == (10, 20)
    task = client.post("/internal/progress", json={"id_task": "mine"}).json()
    assert (task["active"], task["live_preview"]) == (True, "data:image/png;base64,AAAA")
    seen = {"id_task": "mine", "id_live_preview": task["id_live_preview"]}
    assert client.post("/internal/progress", json=seen).json()["live_preview"] is None
    assert stranger.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0
    assert stranger.post("/internal/progress", json={"id_task": "mine"}).json()["active"] is False
    worker.succeed(first)
    assert client.get("/sdapi/v1/progress").json()["state"]["job_no"] == 1
    worker.draw(second)
    thread.join()
    assert len(answers[0].json()["images"]) == 2
    assert client.get("/sdapi/v1/progress").json()["progress"] == 0
    assert client.post("/internal/progress", json={"id_task": "mine"}).json()["completed"] is True
    assert stranger.post("/internal/progress", json={"id_task": "mine"}).json()["completed"] is False


def test_interrupting_ends_the_keys_own_calls(client, stranger, calls, worker):
    thread, answers = calls.begin("/sdapi/v1/txt2img", prompt="x", batch_size=3)
    ids = calls.queued(3)
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
    worker.start(first)
    assert client.post("/sdapi/v1/skip").json() is None
    assert worker.ledger.read(first).is_cancel_requested
    worker.ledger.cancel(first, EXECUTION)
    worker.draw(second)
    thread.join()
    assert len(answers[0].json()["images"]) == 1


def test_a_client_that_goes_away_cancels_its_jobs(server_url, key, calls, worker):
    with pytest.raises(httpx.ReadTimeout):
        body = {"prompt": "x", "batch_size": 2}
        httpx.post(f"{server_url}/sdapi/v1/txt2img", json=body, auth=("me", key), timeout=0.5)
    for job_id in calls.queued(2):
        while worker.ledger.read(job_id).status is not JobStatus.CANCELED:
            time.sleep(0.02)


def test_a_call_is_queued_whole_or_not_at_all(client, redis, worker):
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", "batch_size": 51})
    assert answer.status_code == 503 and answer.json()["error"] == "Queue Full"
    ids = [job_id.decode() for job_id in redis.lrange(QUEUE_KEY, 0, -1)]
    assert {worker.ledger.read(job_id).status for job_id in ids} == {JobStatus.CANCELED}


def test_a_job_that_fails_is_told_in_a1111s_words(calls, worker):
    thread, answers = calls.begin("/sdapi/v1/txt2img", prompt="x")
    (job_id,) = calls.queued()
    worker.start(job_id)
    worker.fail(job_id)
    thread.join()
    assert answers[0].status_code == 500
    told = answers[0].json()
    assert told == {"error": "drawing_failed", "detail": told["detail"], "body": "", "errors": told["detail"]}
    assert told["detail"].startswith("the image is all")


def test_a_link_that_leads_nowhere_is_the_clients_matter(calls, worker):
    thread, answers = calls.begin("/sdapi/v1/img2img", prompt="x", init_images=["https://example.org/a.png"])
    (job_id,) = calls.queued()
    worker.start(job_id)
    assert worker.ledger.fail(job_id, EXECUTION, InputUnavailable("nothing there"))
    thread.join()
    assert answers[0].status_code == 422
    assert answers[0].json() == {"detail": [{"loc": ["body"], "msg": "nothing there", "type": "value_error"}]}


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
