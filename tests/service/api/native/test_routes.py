"""Native jobs: posting, putting, reading, waiting, cancelling, and whose they are."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

KEYS = [
    "id", "kind", "status", "params", "revised_prompt", "rewrite", "progress", "queue", "waiting_for_input", "result",
    "safety", "error",
    "created_at", "started_at", "finished_at", "start_within_s", "cancel_after_s", "retries", "retain_s",
    "tags", "metadata", "warnings",
]  # fmt: skip


def test_a_posted_job_is_shown_whole(client, body, queued):
    answer = client.post("/v1/jobs", json=body(seed=7, guidance_scale=5))
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    assert list(job) == KEYS
    assert (job["status"], job["kind"], job["progress"]) == (
        "queued",
        "txt2img",
        {"step": 0, "steps": 20, "loading": None, "done_bytes": None, "total_bytes": None, "note": None},
    )
    assert job["params"] == {
        "prompt": "a red apple", "negative_prompt": "", "model": "house", "sampler": "DPM++ 2M",
        "num_inference_steps": 20, "guidance_scale": 5.0, "seed": 7, "width": 128, "height": 128,
        "variation": None, "style_preset": None, "clip_skip": 1, "loras": [], "image": None, "strength": 1.0,
        "resize_mode": "crop",
        "mask": None, "controls": [], "second_pass": None, "refiner": None, "reuse_interval": 1, "priority": 0,
        "enhance_prompt": False, "enhance_negative_prompt": False,
    }  # fmt: skip
    created = datetime.fromisoformat(job["created_at"])
    assert created.tzinfo == UTC and abs(created.timestamp() - time.time()) < 10
    assert (job["result"], job["error"], job["started_at"], job["finished_at"]) == (None, None, None, None)
    assert queued() == 1
    assert client.get(f"/v1/jobs/{job['id']}").json() == job | {"queue": {"ahead": 0, "eta_s": None}}
    assert job["warnings"] == []


def test_a_job_warns_of_words_that_the_built_in_model_was_not_taught(client, body):
    (warning,) = client.post("/v1/jobs", json=body(prompt="a zeppelin")).json()["warnings"]
    assert "was not taught 'zeppelin'" in warning


def test_nulls_are_the_same_as_absent_and_the_seed_is_drawn(client, body):
    first = client.post("/v1/jobs", json=body(seed=None, model=None, width=None)).json()
    second = client.post("/v1/jobs", json=body(seed=-1)).json()
    assert 0 <= first["params"]["seed"] < 2**32
    assert first["params"]["seed"] != second["params"]["seed"]


def test_a_finished_job_has_its_result(client, new_job, worker, server_url):
    job_id = new_job()
    worker.start(job_id)
    worker.progress(job_id, 5)
    running = client.get(f"/v1/jobs/{job_id}").json()
    assert (running["status"], running["progress"]) == (
        "running",
        {"step": 5, "steps": 20, "loading": None, "done_bytes": None, "total_bytes": None, "note": None},
    )
    assert running["started_at"] and not running["finished_at"]
    worker.succeed(job_id)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert job["status"] == "succeeded" and job["error"] is None and job["finished_at"]
    assert job["result"]["timings"] == {"prepare_s": 0.1, "denoise_s": 1.0, "finish_s": 0.1}
    [image] = job["result"]["images"]
    assert image == {
        "url": f"{server_url}/images/{job_id}.png",
        "width": 128,
        "height": 128,
        "seed": job["params"]["seed"],
    }
    assert client.get(image["url"]).content.startswith(b"\x89PNG")


@pytest.mark.parametrize(("backends", "warnings"), [([], 0), (["eager"], 0), (["openvino-int8-unproved"], 1)])
def test_a_job_says_what_drew_it_and_that_it_was_not_proved(client, new_job, worker, backends, warnings):
    job_id = new_job()
    worker.start(job_id)
    worker.succeed(job_id, backends=backends)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert job["result"]["backends"] == backends
    assert len(job["warnings"]) == warnings
    assert not warnings or "openvino-int8, which did not pass its checks" in job["warnings"][0]


def test_a_failed_job_says_why(client, new_job, worker):
    job_id = new_job()
    worker.start(job_id)
    worker.fail(job_id)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["status"], job["result"]) == ("failed", None)
    assert job["error"] == {"code": "drawing_failed", "message": "the image is all\nNaN – sorry"}


def test_the_same_key_and_body_give_the_same_job(client, body, queued):
    headers = {"Idempotency-Key": "once"}
    first = client.post("/v1/jobs", json=body(seed=None), headers=headers)
    again = client.post("/v1/jobs", json=body(), headers=headers)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == again.json() and again.headers["location"] == first.headers["location"]
    other = client.post("/v1/jobs", json=body(seed=3), headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "already_used")
    assert queued() == 1


def test_idempotency_keys_of_two_owners_do_not_meet(client, stranger, body, queued):
    for each in (client, stranger):
        assert each.post("/v1/jobs", json=body(), headers={"Idempotency-Key": "once"}).status_code == 202
    assert queued() == 2


def test_identical_posts_at_once_make_one_job(client, body, queued):
    def post(_: int) -> tuple[int, str]:
        answer = client.post("/v1/jobs", json=body(), headers={"Idempotency-Key": "rush"})
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(post, range(12)))
    assert len({job_id for _, job_id in answers}) == 1
    assert sorted(status for status, _ in answers) == [200] * 11 + [202]
    assert queued() == 1


@pytest.mark.parametrize("word", ["", "x" * 256])
def test_a_bad_idempotency_key_is_refused(client, body, queued, word):
    answer = client.post("/v1/jobs", json=body(), headers={"Idempotency-Key": word})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert queued() == 0


def test_put_is_safe_to_repeat(client, stranger, body, queued):
    answers = [client.put("/v1/jobs/my-job_1", json=body(sampler=None)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 200]
    assert answers[0].json() == answers[1].json() and answers[0].json()["id"] == "my-job_1"
    assert client.put("/v1/jobs/my-job_1", json=body(seed=1)).status_code == 409
    assert stranger.put("/v1/jobs/my-job_1", json=body()).status_code == 409
    assert queued() == 1


def test_a_guessable_id_gives_no_guessable_image(client, body, worker):
    client.put("/v1/jobs/apple", json=body())
    worker.draw("apple")
    url = client.get("/v1/jobs/apple").json()["result"]["images"][0]["url"]
    assert "apple" not in url and client.get(url).status_code == 200


@pytest.mark.parametrize("job_id", ["x" * 65, "a.b", "a%20b", "%00", "%FF%FE", "ünde", "a:events"])
def test_bad_ids(client, body, queued, job_id):
    put = client.put(f"/v1/jobs/{job_id}", json=body())
    assert (put.status_code, put.json()["errors"][0]["field"]) == (422, "job_id")
    for answer in (client.get(f"/v1/jobs/{job_id}"), client.delete(f"/v1/jobs/{job_id}")):
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
    assert queued() == 0


def test_jobs_of_others_are_not_there(client, stranger, new_job):
    job_id = new_job()
    asked = [
        stranger.get(f"/v1/jobs/{job_id}"),
        stranger.get(f"/v1/jobs/{job_id}?wait=5"),
        stranger.post(f"/v1/jobs/{job_id}/cancel"),
        stranger.delete(f"/v1/jobs/{job_id}"),
        stranger.get(f"/v1/jobs/{job_id}/events"),
    ]
    assert [(each.status_code, each.json()["code"]) for each in asked] == [(404, "job_not_found")] * 5
    assert stranger.get(f"/v1/job/{job_id}").status_code == 404
    assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"


def test_waiting_ends_with_the_job(client, new_job, worker):
    job_id = new_job()
    worker.start(job_id)
    timer = threading.Timer(0.4, worker.succeed, [job_id])
    timer.start()
    job = client.get(f"/v1/jobs/{job_id}?wait=60", timeout=30).json()  # the timeout shows that the wait ended early
    assert job["status"] == "succeeded"
    timer.join()


def test_waiting_ends_with_its_time(client, new_job):
    job_id = new_job()
    began = time.monotonic()
    assert client.get(f"/v1/jobs/{job_id}?wait=0.5").json()["status"] == "queued"
    assert time.monotonic() - began > 0.4


@pytest.mark.parametrize("query", ["wait=61", "wait=-1", "wait=nan", "wait=inf", "wait=soon", "wiat=5"])
def test_bad_waits(client, new_job, query):
    answer = client.get(f"/v1/jobs/{new_job()}?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.split("=")[0])


def test_cancelling_a_queued_job(client, new_job, worker):
    job_id = new_job()
    answer = client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert worker.ledger.start(job_id, "late") is None
    again = client.post(f"/v1/jobs/{job_id}/cancel")
    assert (again.status_code, again.json()) == (200, answer.json())


def test_cancelling_a_running_job(client, new_job, worker):
    job_id = new_job()
    worker.start(job_id)
    answer = client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert worker.ledger.progress(job_id, "execution-1", 3, 20) == "cancel"
    assert worker.ledger.cancel(job_id, "execution-1")
    assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "canceled"


def test_cancelling_a_finished_job_changes_nothing(client, new_job, worker):
    job_id = new_job()
    worker.draw(job_id)
    answer = client.post(f"/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")


def test_a_full_queue_takes_no_more(client, body, redis, queued):
    redis.rpush("rq:queue:photogram", *range(50))
    answer = client.post("/v1/jobs", json=body())
    assert (answer.status_code, answer.json()["code"]) == (503, "queue_full")
    assert int(answer.headers["retry-after"]) > 0
    prodia = client.post("/v1/sd/generate", json={"prompt": "x"})
    assert (prodia.status_code, prodia.text) == (503, "Queue Full")
    assert queued() == 50
