"""The jobs of one call: queued all or none, cancelled with the client, and their failures as errors."""

from __future__ import annotations

import time

import httpx
import pytest

from models.errors import InputUnavailable
from models.jobs.records import JobStatus
from tests.service.api.conftest import EXECUTION
from tests.waiting import waiting_jobs


def test_a_client_that_goes_away_cancels_its_jobs(server_url, key, calls, worker):
    with pytest.raises(httpx.ReadTimeout):
        body = {"prompt": "x", "batch_size": 2}
        httpx.post(f"{server_url}/sdapi/v1/txt2img", json=body, auth=("me", key), timeout=0.5)
    for job_id in calls.queued(2):
        while worker.ledger.read(job_id).status is not JobStatus.CANCELED:
            time.sleep(0.02)


def test_a_call_is_queued_whole_or_not_at_all(client, redis):
    answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", "batch_size": 51})
    assert answer.status_code == 503 and answer.json()["error"] == "Queue Full"
    assert waiting_jobs(redis) == []


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
    assert worker.ledger.fail(job_id, EXECUTION, InputUnavailable("nothing there", "image"))
    thread.join()
    assert answers[0].status_code == 422
    assert answers[0].json() == {
        "detail": [{"loc": ["body", "init_images", 0], "msg": "nothing there", "type": "value_error"}]
    }


def test_a_job_of_an_earlier_version_that_failed_by_its_image_names_no_field(calls, worker):
    thread, answers = calls.begin("/sdapi/v1/img2img", prompt="x", init_images=["https://example.org/a.png"])
    (job_id,) = calls.queued()
    worker.start(job_id)
    assert worker.ledger.fail(job_id, EXECUTION, InputUnavailable("nothing there"))
    thread.join()
    assert answers[0].json()["detail"][0]["loc"] == ["body"]
