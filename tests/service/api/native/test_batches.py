"""Batches over HTTP: all of their jobs or none, or each by itself; exact under limits, and safe to repeat."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import wraps

import httpx
import pytest

from service.api.app import create_app
from service.api.native import batches
from service.backbone import admission
from service.backbone.pieces import PIECE
from service.backbone.queue import Intake
from service.backbone.settings import Settings
from service.jobs import service

STEPS = {"width": 512, "height": 512, "num_inference_steps": 4}  # 1.05 units


@pytest.fixture
def limited(client, server_url):
    """Creates a key with limits; gives a client that sends it."""
    clients = []

    def open_client(**limits):
        key = client.post("/v1/keys", json={"name": "limited", "limits": limits}).json()["key"]
        clients.append(httpx.Client(base_url=server_url, headers={"Authorization": f"Bearer {key}"}, timeout=20))
        return clients[-1]

    yield open_client
    for each in clients:
        each.close()


def batch_of(jobs, **more):
    return {"jobs": jobs, **more}


def send(client, jobs, *, key=None, **more):
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/v1/jobs/batch", json=batch_of(jobs, **more), headers=headers)


def ids(answer):
    return [item["job"] and item["job"]["id"] for item in answer.json()["items"]]


def test_all_jobs_of_a_batch_are_queued_and_listed_in_its_order(client, body, queued):
    answer = send(client, [body(seed=seed) | {"tags": [str(seed)]} for seed in range(5)])
    assert (answer.status_code, answer.json()["accepted"], answer.json()["refused"]) == (202, 5, 0)
    jobs = [item["job"] for item in answer.json()["items"]]
    assert [(job["params"]["seed"], job["tags"]) for job in jobs] == [(seed, [str(seed)]) for seed in range(5)]
    assert queued() == 5
    assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == ids(answer)[::-1]
    assert client.get("/v1/usage").json()["queued"] == 5


@pytest.mark.parametrize(
    ("jobs", "fields"),
    [
        ([], ["jobs"]),
        ([{"kind": "txt2img", "params": {"prompt": "x"}}] * 1001, ["jobs"]),
        ("x", ["jobs"]),
        ([1], ["jobs[0]"]),
        ([{"kind": "txt2img"}, {"kind": "nothing", "params": {}}], ["jobs[0].params", "jobs[1].kind"]),
        (
            [
                {"kind": "txt2img", "params": {"prompt": "x"}},
                {"kind": "txt2img", "params": {"prompt": "x", "width": 3}, "tags": [""]},
                {"kind": "img2img", "params": {"prompt": "x", "image": "input:" + 64 * "0"}},
            ],
            ["jobs[1].params.width", "jobs[1].tags[0]", "jobs[2].params.image"],
        ),
    ],
)
def test_a_batch_that_is_not_valid_is_refused_with_all_its_problems(client, queued, jobs, fields):
    answer = send(client, jobs)
    assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (422, fields)
    assert queued() == 0


def test_a_partial_batch_takes_what_is_valid(client, body, queued):
    wrong = [body(width=3), {"kind": "txt2img", "params": {}}, 5]
    answer = send(client, [body(), *wrong, body()], partial=True)
    assert (answer.status_code, answer.json()["accepted"], answer.json()["refused"], queued()) == (202, 2, 3, 2)
    errors = [item["error"] for item in answer.json()["items"]]
    assert errors[0] is errors[4] is None
    assert [error["errors"][0]["field"] for error in errors[1:4]] == ["params.width", "params.prompt", "body"]
    assert {error["status"] for error in errors[1:4]} == {422}


def test_a_partial_batch_of_which_nothing_is_valid(client, queued):
    answer = send(client, [{"kind": "x"}], partial=True)
    assert (answer.status_code, answer.json()["accepted"], queued()) == (200, 0, 0)


@pytest.mark.parametrize("limit", [{"max_in_flight": 3}, {"max_queued": 3}, {"units_per_day": 4}])
def test_a_batch_above_a_limit_leaves_nothing(limited, body, queued, limit):
    holder = limited(**limit)
    refused = send(holder, [body(**STEPS)] * 4)
    assert refused.status_code in (402, 429) and queued() == 0
    usage = holder.get("/v1/usage").json()
    assert (usage["queued"], usage["days"][0]["jobs"], usage["days"][0]["units"]) == (0, 0, 0)
    assert send(holder, [body(**STEPS)] * 3).status_code == 202 and queued() == 3


def test_a_partial_batch_fills_what_a_limit_leaves(limited, body, queued):
    answer = send(limited(max_in_flight=3), [body()] * 5, partial=True)
    assert (answer.status_code, answer.json()["accepted"], queued()) == (202, 3, 3)
    assert [item["error"] and item["error"]["code"] for item in answer.json()["items"]] == [None] * 3 + [
        "too_many_jobs"
    ] * 2


def test_the_queue_takes_a_batch_as_a_whole(client, body, queued):
    answer = send(client, [body()] * 51)
    assert (answer.status_code, answer.json()["code"], queued()) == (503, "queue_full", 0)
    assert send(client, [body()] * 50).status_code == 202
    assert send(client, [body()] * 2, partial=True).json()["items"][0]["error"]["code"] == "queue_full"


def test_many_batches_at_once_get_exactly_what_is_allowed(limited, body, queued):
    holder = limited(max_in_flight=10)
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda _: send(holder, [body()] * 3).status_code, range(12)))
    assert (statuses.count(202), statuses.count(429), queued()) == (3, 9, 9)


@pytest.mark.parametrize("partial", [False, True])
def test_a_batch_counts_as_one_request(limited, body, partial):
    holder = limited(requests_per_minute=2)
    assert send(holder, [body()] * 5, partial=partial).status_code == 202
    assert holder.post("/v1/jobs/dry_run", json=body()).status_code == 200
    for refused in (send(holder, [body()] * 2, partial=partial), holder.post("/v1/jobs/dry_run", json=body())):
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert refused.headers["ratelimit-policy"].startswith('"requests_per_minute"')


def test_a_dry_run_tells_the_limit_that_would_refuse_the_job(limited, body, queued):
    holder = limited(max_in_flight=1)
    assert holder.post("/v1/jobs/dry_run", json=body()).json()["refusal"] is None
    assert holder.post("/v1/jobs", json=body()).status_code == 202
    found = holder.post("/v1/jobs/dry_run", json=body()).json()
    assert (found["refusal"]["code"], found["refusal"]["status"], queued()) == ("too_many_jobs", 429, 1)


@pytest.mark.parametrize("partial", [False, True])
def test_a_batch_that_is_sent_again_is_the_same(client, body, queued, partial):
    jobs = [body(seed=seed) for seed in range(3)]
    first, again = (send(client, jobs, key="once", partial=partial) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 200) and ids(first) == ids(again) and queued() == 3


@pytest.mark.parametrize("change", [lambda jobs: jobs[:2], lambda jobs: [*jobs, jobs[0]], lambda jobs: jobs[::-1]])
def test_another_batch_with_the_same_key_is_refused(client, body, queued, change):
    jobs = [body(seed=seed) for seed in range(3)]
    send(client, jobs, key="once")
    answer = send(client, change(jobs), key="once")
    assert (answer.status_code, answer.json()["code"], queued()) == (409, "already_used", 3)


def test_a_batch_has_a_bound_on_its_body(serve, valkey_url, tmp_path, key, body):
    settings = Settings(redis_url=valkey_url, data=tmp_path, max_queued=2000)
    headers = {"Authorization": f"Bearer {key}"}
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        answer = send(client, [body(prompt="x" * 3000, seed=seed) for seed in range(1000)])
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1000)
        refused = send(client, [body(prompt="x" * 5000)] * 1000)
        assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")
        nested = client.post("/v1/jobs/batch", content=b'{"jobs": [' + b"[],"*250_000 + b"[]]}",
                             headers={"Content-Type": "application/json"})  # fmt: skip
        assert (nested.status_code, nested.json()["code"]) == (422, "malformed_json")


@pytest.fixture
def steps(monkeypatch):
    """For each step that the gateway takes for every job of a batch: in which passes of the event loop it was taken."""
    passes, taken, running = [0], {}, [True]

    def next_pass():
        passes[0] += 1
        if running[0]:
            asyncio.get_running_loop().call_soon(next_pass)

    def spy(owner, name):
        step = getattr(owner, name)
        taken[name] = []

        @wraps(step)
        def noted(*args, **kwargs):
            if not passes[0]:
                next_pass()
            taken[name].append(passes[0])
            return step(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    spy(service, "_with_preferences")
    spy(admission, "_fields")
    spy(Intake, "_arguments")
    spy(Intake, "_accepted")
    spy(batches, "_item")
    yield taken
    running[0] = False


@pytest.mark.parametrize("partial", [False, True])
def test_other_requests_have_their_turn_while_a_batch_is_accepted(client, body, steps, partial):
    jobs = [body(seed=seed) for seed in range(3 * PIECE)]
    assert send(client, jobs, partial=partial).json()["accepted"] == len(jobs)
    for name, passes in steps.items():
        assert len(passes) >= len(jobs), name
        assert max(Counter(passes).values()) <= PIECE + 1, name


def test_a_partial_batch_tells_texts_that_no_encoding_knows(client, body):
    lone = {"kind": "txt2img", "params": {"prompt": "x", "sampler": "\ud800"}}
    documents = [body(), lone, {"kind": "\ud800"}, {"\ud800": 1}]
    answer = client.post(
        "/v1/jobs/batch",
        content=json.dumps({"jobs": documents, "partial": True}),
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["accepted"], answer.json()["refused"]) == (202, 1, 3), answer.text
