"""The options of a job over HTTP: deadlines, retries, retention and labels; and requests that wait or only ask."""

from __future__ import annotations

import json
import threading
import time

import pytest

from models.errors import InternalFailure
from service.backbone.due import DueJobs
from service.backbone.keyspace import DUE_KEY, record_key
from service.backbone.objects.opening import open_stores
from service.backbone.retention import GRACE_S, Retention
from service.backbone.settings import Settings
from tests.service.api.conftest import EXECUTION

GIVEN = {
    "start_within_s": 60, "cancel_after_s": 600, "retries": 2, "retain_s": 3600, "tags": ["a", "ü b"],
    "metadata": {"user.id": "7", "note": "x=y"},
}  # fmt: skip


@pytest.fixture
def due(redis):
    """What each gateway does every second."""
    return DueJobs(redis, 3600)


@pytest.fixture
def submit(client, body):
    """Submits a job with options; gives its id."""

    def post(headers=None, **options):
        answer = client.post("/v1/jobs", json=body() | options, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    return post


def shown(client, job_id):
    return client.get(f"/v1/jobs/{job_id}").json()


def test_options_are_shown_in_views_events_and_lists(client, submit, worker):
    job_id = submit(**GIVEN)
    worker.draw(job_id)
    events = client.get(f"/v1/jobs/{job_id}/events").text
    for view in (shown(client, job_id), client.get("/v1/jobs").json()["jobs"][0]):
        assert {name: view[name] for name in GIVEN} == GIVEN
    assert events.count('"user.id":"7"') == 3


def test_a_request_that_is_sent_again_has_the_same_options(client, body):
    headers = {"Idempotency-Key": "once"}
    first = client.post("/v1/jobs", json=body() | GIVEN, headers=headers)
    again = client.post("/v1/jobs", json=body() | GIVEN, headers=headers)
    assert (first.status_code, again.status_code) == (202, 200) and first.json()["id"] == again.json()["id"]
    assert client.post("/v1/jobs", json=body() | {**GIVEN, "retries": 1}, headers=headers).status_code == 409


@pytest.mark.parametrize(
    ("options", "field", "code"),
    [
        ({"start_within_s": 0}, "start_within_s", "out_of_range"),
        ({"start_within_s": 10**7}, "start_within_s", "out_of_range"),
        ({"start_within_s": 10**400}, "start_within_s", "out_of_range"),
        ({"start_within_s": 1.5}, "start_within_s", "malformed"),
        ({"start_within_s": "60"}, "start_within_s", "malformed"),
        ({"cancel_after_s": -1}, "cancel_after_s", "out_of_range"),
        ({"retries": 6}, "retries", "out_of_range"),
        ({"retries": True}, "retries", "malformed"),
        ({"retain_s": 0}, "retain_s", "out_of_range"),
        ({"retain_s": 8 * 24 * 3600}, "retain_s", "out_of_range"),
        ({"tags": "a"}, "tags", "malformed"),
        ({"tags": ["a"] * 17}, "tags", "too_long"),
        ({"tags": ["a", ""]}, "tags[1]", "required"),
        ({"tags": ["x" * 65]}, "tags[0]", "too_long"),
        ({"tags": ["a\nb"]}, "tags[0]", "malformed"),
        ({"tags": ["\ud800"]}, "tags[0]", "malformed"),
        ({"tags": [1]}, "tags[0]", "malformed"),
        ({"tags": [["a"]]}, "tags[0]", "malformed"),
        ({"metadata": ["a"]}, "metadata", "malformed"),
        ({"metadata": {"a": 1}}, "metadata.a", "malformed"),
        ({"metadata": {"a": None}}, "metadata.a", "malformed"),
        ({"metadata": {"a": {"b": "c"}}}, "metadata.a", "malformed"),
        ({"metadata": {"": "x"}}, "metadata", "malformed"),
        ({"metadata": {"a=b": "x"}}, "metadata", "malformed"),
        ({"metadata": {"a" * 65: "x"}}, "metadata", "malformed"),
        ({"metadata": {"a": "x" * 501}}, "metadata", "too_long"),
        ({"metadata": {"a": "\0"}}, "metadata", "malformed"),
        ({"metadata": {"a": "\udfff"}}, "metadata", "malformed"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata", "too_long"),
        ({"metadata": {str(number): "ü" * 500 for number in range(9)}}, "metadata", "too_long"),
        ({"webhook": "x"}, "webhook", "malformed"),
        ({"keep_s": 1}, "keep_s", "unknown_field"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_by_its_name(client, body, queued, options, field, code):
    sent = json.dumps(body() | options)  # ASCII only: httpx cannot send half of a surrogate pair
    answer = client.post("/v1/jobs", content=sent, headers={"Content-Type": "application/json"})
    [problem] = answer.json()["errors"]
    assert (answer.status_code, problem["field"], problem["code"]) == (422, field, code)
    assert queued() == 0


def test_wrong_options_and_parameters_are_told_together(client, body):
    answer = client.post(
        "/v1/jobs", json=body(metadata="all", guidance_scale=99) | {"retries": 9, "metadata": {"": ""}}
    )
    assert {each["field"] for each in answer.json()["errors"]} == {
        "params.metadata", "params.guidance_scale", "retries", "metadata",
    }  # fmt: skip


def test_a_job_that_nobody_starts_in_time_fails_and_costs_nothing(client, submit, redis, due):
    job_id, other = submit(start_within_s=60), submit()
    due.sweep(time.time() + 59)
    assert shown(client, job_id)["status"] == "queued"
    due.sweep(time.time() + 61)
    job = shown(client, job_id)
    assert (job["status"], job["error"]["code"], job["started_at"]) == ("failed", "start_timeout", None)
    assert shown(client, other)["status"] == "queued" and redis.zcard(DUE_KEY) == 0
    usage = client.get("/v1/usage").json()
    assert (usage["queued"], usage["days"][0]["failed"]) == (1, 1)
    assert usage["days"][0]["units"] == pytest.approx(128 * 128 * 20 / 1e6)


def test_a_worker_starts_no_job_whose_time_is_over(client, submit, redis, worker):
    late, canceled = submit(start_within_s=60), submit(cancel_after_s=60)
    redis.hset(record_key(late), "start_by", time.time() - 1)
    redis.hset(record_key(canceled), "cancel_at", time.time() - 1)
    assert worker.ledger.start(late, EXECUTION) is worker.ledger.start(canceled, EXECUTION) is None
    assert (shown(client, late)["status"], shown(client, late)["error"]["code"]) == ("failed", "start_timeout")
    job = shown(client, canceled)
    assert (job["status"], job["error"]["code"]) == ("canceled", "cancel_after")


def test_a_job_that_started_in_time_is_not_ended_when_it_is_requeued(client, submit, worker, due):
    job_id = submit(start_within_s=60)
    worker.start(job_id)
    assert worker.ledger.requeue(job_id, EXECUTION)
    due.sweep(time.time() + 61)
    assert shown(client, job_id)["status"] == "queued" and worker.ledger.start(job_id, "later") == 0


@pytest.mark.parametrize("is_started", [False, True])
def test_a_job_that_takes_too_long_is_canceled(client, submit, worker, redis, due, is_started):
    job_id = submit(cancel_after_s=60)
    if is_started:
        worker.start(job_id)
    due.sweep(time.time() + 59)
    assert shown(client, job_id)["status"] == ("running" if is_started else "queued")
    later = time.time() + 61
    due.sweep(later)
    if is_started:
        assert (shown(client, job_id)["status"], shown(client, job_id)["error"]) == ("running", None)
        assert worker.ledger.progress(job_id, EXECUTION, 1, 20) == "cancel"
        redis.hset(record_key(job_id), "cancel_at", time.time() - 1)
        assert worker.ledger.cancel(job_id, EXECUTION)
    job = shown(client, job_id)
    assert (job["status"], job["error"]["code"]) == ("canceled", "cancel_after") and redis.zcard(DUE_KEY) == 0


def test_the_gateway_handles_deadlines_itself(client, submit):
    job_id = submit(start_within_s=1)
    job = client.get(f"/v1/jobs/{job_id}?wait=10").json()
    assert (job["status"], job["error"]["code"]) == ("failed", "start_timeout")


def test_deadlines_of_a_finished_job_are_forgotten(submit, worker, redis):
    job_id = submit(start_within_s=60, cancel_after_s=60)
    assert redis.zcard(DUE_KEY) == 2
    worker.draw(job_id)
    assert redis.zcard(DUE_KEY) == 0


@pytest.mark.parametrize(("rule_s", "kept_s"), [(None, 60), (30, 30), (3000, 60)])
def test_a_job_with_a_time_of_its_own_is_removed_then(client, submit, worker, redis, server_data, rule_s, kept_s):
    job_id = submit(retain_s=60)
    if rule_s is not None:
        redis.hset(record_key(job_id), "retention_s", rule_s)  # as that of its key
    worker.draw(job_id)
    assert kept_s - 5 <= redis.ttl(record_key(job_id)) <= kept_s
    settings = Settings(data=server_data)
    retention, due_at = Retention(redis, open_stores(settings), settings), time.time() + kept_s + GRACE_S
    retention.sweep(due_at - 5)
    assert shown(client, job_id)["status"] == "succeeded" and worker.store.find(job_id) is not None
    retention.sweep(due_at + 2)
    assert worker.store.find(job_id) is None


def test_a_job_runs_again_after_internal_failures_as_often_as_it_says(client, submit, worker):
    job_id, plain = submit(retries=2), submit()
    worker.start(plain)
    assert not worker.ledger.retry(plain, EXECUTION)
    for execution in ("1", "2"):
        assert worker.ledger.start(job_id, execution) == 0
        assert not worker.ledger.retry(job_id, "another")
        assert worker.ledger.retry(job_id, execution)
        assert shown(client, job_id)["status"] == "queued"
    assert worker.ledger.start(job_id, "3") == 0
    assert not worker.ledger.retry(job_id, "3")
    assert worker.ledger.fail(job_id, "3", InternalFailure("broken"))
    assert client.get("/v1/usage").json()["days"][0]["jobs"] == 2


def test_a_job_that_was_canceled_does_not_run_again(client, submit, worker):
    job_id = submit(retries=2)
    worker.start(job_id)
    client.post(f"/v1/jobs/{job_id}/cancel")
    assert not worker.ledger.retry(job_id, EXECUTION)


@pytest.mark.parametrize(("header", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1m1s", 61)])
def test_cancel_after_as_a_header(client, submit, header, seconds):
    assert shown(client, submit({"Cancel-After": header}))["cancel_after_s"] == seconds


@pytest.mark.parametrize(
    ("header", "field"),
    [("soon", "Cancel-After"), ("", "Cancel-After"), ("-5", "Cancel-After"), ("1.5s", "Cancel-After"),
     ("9" * 50, "Cancel-After"), ("0", "cancel_after_s"), ("999999h", "cancel_after_s")],
)  # fmt: skip
def test_a_wrong_cancel_after(client, body, queued, header, field):
    for path in ("/v1/jobs", "/v1/jobs/dry_run"):
        answer = client.post(path, json=body(), headers={"Cancel-After": header})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert queued() == 0


def test_cancel_after_and_its_field_must_agree(client, body):
    for seconds, status in ((60, 202), (61, 422)):
        sent = body() | {"cancel_after_s": seconds}
        assert client.post("/v1/jobs", json=sent, headers={"Cancel-After": "1m"}).status_code == status


def test_a_submission_waits_if_the_client_prefers_it(client, body, redis, worker):
    def draw():
        while not (waiting := redis.lrange("rq:queue:photogram", 0, 0)):
            time.sleep(0.02)
        worker.draw(waiting[0].decode())

    hand = threading.Thread(target=draw)
    hand.start()
    answer = client.post("/v1/jobs", json=body(), headers={"Prefer": "respond-async, wait=30"}, timeout=40)
    hand.join()
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["preference-applied"] == "wait=30"


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [("wait=0", "wait=0"), ("WAIT=\"0\"; x=y", "wait=0"), ("wait=soon", None), ("wait=-1", None), ("wait", None),
     ("wait=1e9", None), ("return=minimal", None), ("", None), (",;=,", None)],
)  # fmt: skip
def test_preferences_that_are_applied_or_ignored(client, body, prefer, applied):
    answer = client.post("/v1/jobs", json=body(), headers={"Prefer": prefer})
    assert (answer.status_code, answer.headers.get("preference-applied")) == (202, applied)


def test_a_reader_waits_if_it_prefers_it(client, new_job, worker):
    job_id = new_job()
    began = time.monotonic()
    answer = client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=1"})
    assert (answer.json()["status"], answer.headers["preference-applied"]) == ("queued", "wait=1")
    assert time.monotonic() - began > 0.9
    worker.draw(job_id)
    answer = client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=99999"})
    assert (answer.json()["status"], answer.headers["preference-applied"]) == ("succeeded", "wait=60")


def test_a_dry_run_tells_parameters_and_cost_and_makes_no_job(client, body, queued):
    sent = body(width=256, height=128, num_inference_steps=10, seed=5)
    answer = client.post("/v1/jobs/dry_run", json=sent)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["kind"], found["refusal"], found["cost"]["step_px"]) == ("txt2img", None, 327680)
    assert found["cost"]["units"] == 0.32768
    assert queued() == 0 and client.get("/v1/jobs").json()["jobs"] == [] == client.get("/v1/images").json()["images"]
    usage = client.get("/v1/usage").json()
    assert (usage["queued"], usage["days"][0]["jobs"]) == (0, 0)
    assert client.post("/v1/jobs", json=sent).json()["params"] == found["params"]


def test_a_dry_run_tells_what_is_not_valid_as_a_submission_does(client, body):
    sent = body(width=3) | {"retries": 9}
    refused = [client.post(path, json=sent) for path in ("/v1/jobs", "/v1/jobs/dry_run")]
    assert [each.status_code for each in refused] == [422, 422]
    assert refused[0].json()["errors"] == refused[1].json()["errors"]


def test_a_dry_run_tells_that_the_queue_is_full(client, body, redis):
    redis.rpush("rq:queue:photogram", *range(50))
    assert client.post("/v1/jobs/dry_run", json=body()).json()["refusal"]["code"] == "queue_full"
