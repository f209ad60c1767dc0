"""Jobs whose prompt is to be rewritten, as clients see them: who asked for it, and what became of it."""

from __future__ import annotations

import json
import threading
import time

import pytest

from models.jobs.rewrite import APPLIED, TIMEOUT, Rewrite
from tests.waiting import waiting_jobs

DONE = Rewrite(
    status=APPLIED, revised_prompt="a red apple, soft light", engine="m", template="tags-1", elapsed_s=0.5,
    revised_negative_prompt="blurry",
)  # fmt: skip


@pytest.mark.parametrize(
    ("preferred", "asked", "expected"),
    [
        ({}, {}, (False, False)),
        ({"enhance_prompt": True}, {}, (True, False)),
        ({"enhance_prompt": True, "enhance_negative_prompt": True}, {"enhance_prompt": False}, (False, True)),
        ({}, {"enhance_prompt": True, "enhance_negative_prompt": True}, (True, True)),
    ],
)
def test_a_job_decides_and_else_its_key(client, new_job, preferred, asked, expected) -> None:
    client.patch("/v1/preferences", json=preferred)
    params = client.get(f"/v1/jobs/{new_job(**asked)}").json()["params"]
    assert (params["enhance_prompt"], params["enhance_negative_prompt"]) == expected


def test_dialects_without_a_word_for_it_follow_the_key(client) -> None:
    client.patch("/v1/preferences", json={"enhance_prompt": True})
    job_id = client.post("/v1/sd/generate", json={"prompt": "a cat"}).json()["job"]
    assert client.get(f"/v1/jobs/{job_id}").json()["params"]["enhance_prompt"] is True


def test_a_repeated_request_is_the_same_job_whatever_the_key_prefers_by_then(client, body) -> None:
    headers = {"Idempotency-Key": "once"}
    first = client.post("/v1/jobs", json=body(), headers=headers)
    client.patch("/v1/preferences", json={"enhance_prompt": True})
    again = client.post("/v1/jobs", json=body(), headers=headers)
    assert (first.status_code, again.status_code) == (202, 200) and first.json()["id"] == again.json()["id"]
    other = client.post("/v1/jobs", json=body(enhance_prompt=True), headers=headers)
    assert other.status_code == 409


def test_both_prompts_are_shown_and_announced(client, new_job, worker) -> None:
    job_id = new_job(enhance_prompt=True)
    assert client.get(f"/v1/jobs/{job_id}").json()["rewrite"] is None
    worker.start(job_id)
    worker.rewrite(job_id, DONE)
    worker.succeed(job_id)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["params"]["prompt"], job["revised_prompt"]) == ("a red apple", "a red apple, soft light")
    assert job["rewrite"] == DONE.to_payload()
    events = client.get(f"/v1/jobs/{job_id}/events").text.split("\n\n")
    (told,) = (event for event in events if "event: rewrite" in event)
    assert json.loads(told.partition("data: ")[2]) == DONE.to_payload()


def test_what_was_not_applied_says_why(client, new_job, worker) -> None:
    job_id = new_job(enhance_prompt=True)
    worker.start(job_id)
    worker.rewrite(job_id, Rewrite(status=TIMEOUT, reason="too late"))
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert job["revised_prompt"] is None
    assert (job["rewrite"]["status"], job["rewrite"]["reason"]) == ("timeout", "too late")


@pytest.mark.parametrize(
    ("path", "sent", "told"),
    [
        ("/v1/images/generations", {"prompt": "a red apple"}, lambda answer: answer["data"][0]["revised_prompt"]),
        ("/sdapi/v1/txt2img", {"prompt": "a red apple"}, lambda answer: json.loads(answer["info"])["prompt"]),
    ],
)
def test_dialects_that_tell_what_was_drawn_tell_the_revised_prompt(client, redis, worker, path, sent, told) -> None:
    client.patch("/v1/preferences", json={"enhance_prompt": True})
    answers = []
    caller = threading.Thread(target=lambda: answers.append(client.post(path, json=sent)))
    caller.start()
    deadline = time.monotonic() + 10
    while not (jobs := waiting_jobs(redis)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job_id = jobs[0]
    worker.start(job_id)
    worker.rewrite(job_id, DONE)
    worker.succeed(job_id)
    caller.join()
    assert answers[0].status_code == 200, answers[0].text
    assert told(answers[0].json()) == "a red apple, soft light"
