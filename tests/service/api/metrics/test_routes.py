"""The metrics routes: who may read them, and what they tell after what happened."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.jobs.kinds import DIFFUSION_QUEUE
from service.api.app import create_app
from service.backbone import metrics
from service.backbone.keys import make_key
from service.backbone.keyspace import worker_metrics_key
from service.backbone.places import JobTime, PaceNotes
from service.backbone.settings import Settings


def samples(client: httpx.Client, path: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """All samples by name and the values of their labels in the order of the labels' names."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_are_counted_by_the_pattern_of_their_route(anonymous, client, new_job):
    job_id, name = new_job(), "photogram_http_requests_total"
    before = samples(anonymous, "/metrics")
    for _ in range(3):
        client.get(f"/v1/jobs/{job_id}")
    client.get(f"/v1/jobs/{job_id}/nothing-here")
    anonymous.request("PROPFIND", "/coffee")
    after = samples(anonymous, "/metrics")

    def rise(*labels: str) -> float:
        return after.get((name, labels), 0) - before.get((name, labels), 0)

    assert rise("GET", "/v1/jobs/{job_id}", "200") == 3
    assert rise("GET", "-", "404") == 1
    assert rise("other", "-", "404") == 1
    assert not any(job_id in value or "coffee" in value for _, labels in after for value in labels)
    count = "photogram_http_request_seconds_count"
    assert after[count, ("GET", "/v1/jobs/{job_id}")] >= 3
    assert after["photogram_http_errors_total", ("not_found",)] >= 2


def test_ends_of_jobs_are_counted_by_what_became_of_them(anonymous, client, worker, new_job):
    before = samples(anonymous, "/metrics")
    drawn, failed, canceled = (new_job() for _ in range(3))
    worker.draw(drawn)
    worker.start(failed)
    worker.fail(failed)
    client.delete(f"/v1/jobs/{canceled}")
    after = samples(anonymous, "/metrics")
    found = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
    model = next(labels[2] for name, labels in found if name == "photogram_jobs_ended_total")
    ended = {labels: value for (name, labels), value in found.items() if name == "photogram_jobs_ended_total"}
    assert ended == {
        ("none", "txt2img", model, "succeeded"): 1,
        ("drawing_failed", "txt2img", model, "failed"): 1,
        ("none", "txt2img", model, "canceled"): 1,
    }
    assert found["photogram_jobs_accepted_total", ("txt2img", model)] == 3
    assert found["photogram_job_queue_seconds_count", ("txt2img",)] == 2
    assert found["photogram_job_run_seconds_count", ("txt2img", "succeeded")] == 1


def test_the_first_values_of_a_label_are_kept_and_all_others_are_one():
    bounded = metrics.Bounded()
    known = {bounded(f"model-{number}") for number in range(metrics.VALUES_MAX + 50)}
    assert len(known) == metrics.VALUES_MAX + 1
    assert bounded("model-0") == "model-0" and bounded("another") == "other"
    assert bounded("") == bounded(None) == bounded({"model": 1}) == "none"


def test_neither_prompts_nor_keys_are_told(anonymous, client, key):
    client.post("/v1/jobs", json={"kind": "txt2img", "params": {"prompt": "a secret garden", "model": "no such model"}})
    client.post("/v1/jobs", json={"kind": "txt2img", "params": {"prompt": "a secret garden"}})
    for path in ("/metrics", "/metrics/cluster"):
        text = anonymous.get(path).text
        assert "garden" not in text and key not in text and "no such model" not in text


def test_the_work_that_waits_is_told_by_model_in_seconds(anonymous, client, worker, new_job, redis):
    first, second, third = (new_job(width=256, height=512, num_inference_steps=20) for _ in range(3))
    shared = samples(anonymous, "/metrics/cluster")
    (labels,) = (labels for name, labels in shared if name == "photogram_queued_jobs")
    model = labels[0]
    work = 256 * 512 * 20
    assert shared["photogram_queue_jobs", ("photogram",)] == shared["photogram_queued_jobs", labels] == 3
    assert shared["photogram_queued_work_units", labels] == pytest.approx(3 * work / 1e6)
    assert ("photogram_queued_work_seconds", labels) not in shared
    PaceNotes(redis, DIFFUSION_QUEUE).note(JobTime(model, "of this size", work, 4.0))
    assert samples(anonymous, "/metrics/cluster")["photogram_queued_work_seconds", labels] == pytest.approx(12)
    worker.start(first)
    assert samples(anonymous, "/metrics/cluster")["photogram_queued_work_seconds", labels] == pytest.approx(8)
    worker.ledger.requeue(first, "execution-1")
    assert samples(anonymous, "/metrics/cluster")["photogram_queued_work_seconds", labels] == pytest.approx(12)
    worker.draw(first)
    for job_id in (second, third):
        client.delete(f"/v1/jobs/{job_id}")
    assert not any(name.startswith("photogram_queued_") for name, _ in samples(anonymous, "/metrics/cluster"))


def test_workers_are_told_apart_and_a_dead_one_is_forgotten(anonymous, worker, redis):
    def published(value: float) -> str:
        rows = [["photogram_engine_rows", {"state": "running"}, value]]
        return json.dumps([{"name": "photogram_engine_rows", "type": "gauge", "help": "Rows.", "samples": rows}])

    for name, value in (("one", 3), ("two", 5)):
        worker.ledger.beat(name)
        redis.set(worker_metrics_key(name), published(value))
    found = samples(anonymous, "/metrics/cluster")
    assert found["photogram_workers", ("photogram",)] == 2
    assert anonymous.get("/readyz").json()["workers"] == 2
    assert found["photogram_engine_rows", ("running", "one")] == 3
    assert found["photogram_engine_rows", ("running", "two")] == 5
    assert anonymous.get("/metrics/cluster").text.count("# TYPE photogram_engine_rows gauge") == 1
    redis.delete(worker_metrics_key("one"))
    redis.zadd("photogram:workers", {"two": time.time() - 60})
    found = samples(anonymous, "/metrics/cluster")
    assert found["photogram_workers", ("photogram",)] == 1
    assert not any(name == "photogram_engine_rows" for name, _ in found)


def test_only_an_administrator_reads_metrics_from_elsewhere(serve, valkey_url, tmp_path, key, client):
    submit_only = client.post("/v1/keys", json={"name": "app", "scopes": ["submit"]}).json()["key"]
    settings = Settings(redis_url=valkey_url, data=tmp_path, metrics_open_to=())
    with serve(create_app(settings)) as url:
        for path in ("/metrics", "/metrics/cluster"):
            asked = [httpx.get(url + path, headers={"X-API-Key": sent} if sent else {})
                     for sent in (None, make_key(), submit_only, key)]  # fmt: skip
            assert [answer.status_code for answer in asked] == [401, 401, 403, 200]
            assert asked[2].json()["code"] == "missing_scope"


def test_a_client_behind_a_proxy_is_not_on_the_loopback(anonymous):
    assert anonymous.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401


def test_the_usage_of_keys_is_told_by_id_if_it_is_asked_for(serve, valkey_url, tmp_path, key, client, new_job):
    new_job(width=256, height=512, num_inference_steps=20)
    key_id = client.get("/v1/keys").json()["keys"][0]["id"]
    with (
        serve(create_app(Settings(redis_url=valkey_url, data=tmp_path, metrics_by_key=True))) as url,
        httpx.Client(base_url=url) as asking,
    ):
        found = samples(asking, "/metrics/cluster")
    assert found["photogram_key_month_jobs", (key_id,)] == 1
    assert found["photogram_key_month_work_units", (key_id,)] == pytest.approx(256 * 512 * 20 / 1e6)


def test_refusals_are_counted_by_limit(anonymous, client, new_job):
    limited = client.post("/v1/keys", json={"name": "app", "limits": {"max_queued": 1}})
    headers, body = {"X-API-Key": limited.json()["key"]}, {"kind": "txt2img", "params": {"prompt": "a cat"}}
    before = samples(anonymous, "/metrics").get(("photogram_admission_refusals_total", ("max_queued",)), 0)
    answers = [anonymous.post("/v1/jobs", json=body, headers=headers).status_code for _ in range(3)]
    assert answers == [202, 429, 429]
    assert samples(anonymous, "/metrics")["photogram_admission_refusals_total", ("max_queued",)] == before + 2
