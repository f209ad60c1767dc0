"""Keys over HTTP: administered, held to their scopes, rules and limits in every dialect, and their jobs deleted."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from service.backbone.key_store import KeyStore
from tests.waiting import waiting_jobs

MEGAPIXEL_STEPS = {"width": 512, "height": 512, "num_inference_steps": 4}  # 1.05 units


@pytest.fixture
def issue(client):
    """Creates a key by the API; gives its description."""

    def post(**rules):
        answer = client.post("/v1/keys", json={"name": "issued", **rules})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return post


@pytest.fixture
def holder(server_url, issue):
    """Creates a key; gives a client that sends it."""
    clients = []

    def open_client(**rules):
        headers = {"Authorization": f"Bearer {issue(**rules)['key']}"}
        clients.append(httpx.Client(base_url=server_url, headers=headers, timeout=20))
        return clients[-1]

    yield open_client
    for each in clients:
        each.close()


SUBMISSIONS = [
    ("/v1/jobs", {"kind": "txt2img", "params": {"prompt": "x"}}),
    ("/v1/sd/generate", {"prompt": "x"}),
    ("/v2/job/async", {"type": "inference.house.txt2img.v1", "config": {"prompt": "x"}}),
    ("/v1/images/generations", {"prompt": "x"}),
    ("/sdapi/v1/txt2img", {"prompt": "x"}),
]


def test_a_key_is_listed_and_shown_without_its_secret(client, issue):
    made = issue(limits={"max_in_flight": 2}, expires_in_s=100, models=["house"])
    shown = client.get(f"/v1/keys/{made['id']}").json()
    assert "key" not in shown and shown == {name: value for name, value in made.items() if name != "key"}
    assert shown["limits"]["max_in_flight"] == 2 and shown in client.get("/v1/keys").json()["keys"]


def test_a_revoked_key_is_refused_within_five_seconds(client, holder, issue, server_url):
    made = issue()
    headers = {"X-API-Key": made["key"]}
    assert client.get("/v1/samplers", headers={"Authorization": f"Bearer {made['key']}"}).status_code == 200
    assert client.post(f"/v1/keys/{made['id']}/revoke").json()["revoked_at"] is not None
    revoked_at = time.monotonic()
    while (answer := httpx.get(f"{server_url}/v1/samplers", headers=headers)).status_code == 200:
        assert time.monotonic() - revoked_at < 5
        time.sleep(0.1)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert "revoked" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/keys", "/v1/keys/x/jobs", "/v1/keys/x/usage"])
def test_only_an_administrator_manages_keys(holder, path):
    answer = holder(scopes=["submit", "read"]).get(path)
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


@pytest.mark.parametrize(("path", "body"), SUBMISSIONS)
def test_a_key_without_submit_submits_in_no_dialect(holder, queued, path, body):
    answer = holder(scopes=["read", "admin"]).post(path, json=body)
    assert answer.status_code == 403 and queued() == 0


def test_a_key_without_submit_cancels_and_changes_nothing(holder, issue, client, body):
    owner = issue()
    sent = {"Authorization": f"Bearer {owner['key']}"}
    job_id = client.post("/v1/jobs", json=body(), headers=sent).json()["id"]
    reader = holder(scopes=["read"], reads=owner["id"])
    assert reader.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"
    assert reader.post(f"/v1/jobs/{job_id}/cancel").status_code == 403
    assert reader.delete(f"/v1/jobs/{job_id}").status_code == 403
    assert reader.delete("/v1/jobs?all=true").status_code == 403
    assert reader.patch("/v1/preferences", json={"enhance_prompt": True}).status_code == 403
    assert reader.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"


@pytest.mark.parametrize(("path", "body"), SUBMISSIONS)
@pytest.mark.parametrize(
    ("limit", "status"), [("requests_per_minute", 429), ("max_in_flight", 429), ("units_per_day", 402)]
)
def test_a_limit_is_refused_in_the_shape_of_each_dialect(holder, worker, path, body, limit, status):
    worker.ledger.beat("hand")  # Prodia's API v2 refuses jobs without a worker
    limited = holder(limits={limit: 1})
    first = limited.post(
        "/v1/jobs", json={"kind": "txt2img", "params": {"prompt": "x", **MEGAPIXEL_STEPS, "num_inference_steps": 3}}
    )
    assert first.status_code == 202, first.text
    answer = limited.post(path, json=body)
    assert answer.status_code == status, answer.text
    wait_s = int(answer.headers["retry-after"])
    assert wait_s > 0 and answer.headers["ratelimit-policy"].startswith(f'"{limit}";q=1')
    assert answer.headers["ratelimit"] == f'"{limit}";r=0;t={wait_s}'
    assert [answer.headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset")] == ["1", "0", str(wait_s)]
    assert limited.get("/v1/jobs").status_code == 200


@pytest.mark.parametrize(("path", "body"), SUBMISSIONS)
def test_a_key_that_has_stored_its_limit_is_refused_in_the_shape_of_each_dialect(holder, worker, path, body):
    worker.ledger.beat("hand")
    limited = holder(limits={"stored_bytes": 1})
    job_id = limited.post("/v1/jobs", json={"kind": "txt2img", "params": {"prompt": "x"}}).json()["id"]
    worker.draw(job_id)
    assert limited.get("/v1/usage").json()["stored_bytes"] > 1
    answer = limited.post(path, json=body)
    assert answer.status_code == 402, answer.text
    assert answer.headers["ratelimit"] == '"stored_bytes";r=0;t=60'
    assert limited.delete(f"/v1/jobs/{job_id}").is_success
    assert limited.get("/v1/usage").json()["stored_bytes"] == 0


def test_fifty_clients_get_exactly_what_is_allowed(holder, queued, body):
    limited = holder(limits={"max_in_flight": 7})
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: limited.post("/v1/jobs", json=body()).status_code, range(50)))
    assert (statuses.count(202), statuses.count(429), queued()) == (7, 43, 7)


def test_several_images_are_accepted_together_or_not_at_all(holder, queued):
    limited = holder(limits={"max_in_flight": 3})
    assert limited.post("/v1/images/generations", json={"prompt": "x", "n": 4}).status_code == 429
    assert queued() == 0 and limited.get("/v1/usage").json()["queued"] == 0


def test_rules_of_a_key_forbid_models_kinds_and_priorities(holder, client, body, redis):
    ruled = holder(kinds=["upscale"], max_priority=-1)
    key_id = client.get("/v1/keys").json()["keys"][-1]["id"]
    KeyStore(redis).change(key_id, lambda rules: replace(rules, models=("another",)))
    problems = ruled.post("/v1/jobs", json=body(priority=1)).json()["errors"]
    assert [(each["field"], each["code"]) for each in problems] == [
        ("kind", "not_allowed"), ("params.model", "not_allowed"), ("params.priority", "out_of_range"),
    ]  # fmt: skip
    lowered = holder(max_priority=-1).post("/v1/jobs", json=body()).json()
    assert lowered["params"]["priority"] == -1


def test_rules_and_limits_of_a_key_are_changed(client, issue):
    made = issue(limits={"max_in_flight": 3}, max_priority=1)
    changed = client.patch(f"/v1/keys/{made['id']}", json={"weight": 4, "limits": {"units_per_day": 7}}).json()
    expected = {key: value for key, value in made.items() if key != "key"} | {"weight": 4}
    assert changed == expected | {"limits": made["limits"] | {"units_per_day": 7}}
    cleared = client.patch(f"/v1/keys/{made['id']}", json={"max_priority": None, "limits": {"max_in_flight": None}})
    assert (cleared.json()["max_priority"], cleared.json()["limits"]["max_in_flight"]) == (None, None)
    assert client.patch("/v1/keys/nobody", json={"weight": 2}).status_code == 404


WRONG_RULES = [
    ({"weight": 0}, "weight"), ({"weight": 1001}, "weight"), ({"weight": None}, "weight"), ({"weight": "x"}, "weight"),
    ({"weight": 1.5}, "weight"), ({"weight": True}, "weight"), ({"name": ""}, "name"), ({"name": None}, "name"),
    ({"name": " "}, "name"), ({"name": "a\nb"}, "name"), ({"name": "x" * 201}, "name"), ({"scopes": []}, "scopes"),
    ({"scopes": ["root"]}, "scopes[0]"), ({"scopes": ["read"] * 4}, "scopes"), ({"models": ["hause"]}, "models"),
    ({"models": [7]}, "models[0]"), ({"models": None}, "models"), ({"kinds": ["txt2pic"]}, "kinds"),
    ({"kinds": [""]}, "kinds"), ({"max_priority": 3}, "max_priority"), ({"retention_s": 0}, "retention_s"),
    ({"expires_in_s": 0}, "expires_in_s"), ({"expires_in_s": 10**12}, "expires_in_s"), ({"safety": "x"}, "safety"),
    ({"provenance": "x"}, "provenance"), ({"webhooks": 1}, "webhooks"), ({"limits": []}, "limits"),
    ({"limits": {"max_in_flight": -1}}, "limits.max_in_flight"), ({"limits": {"max": 1}}, "limits.max"),
    ({"limits": {"stored_bytes": 10**16}}, "limits.stored_bytes"), ({"id": "x"}, "id"),
    ({"reads": "nobody", "scopes": ["read"]}, "reads"), ({"reads": "nobody"}, "reads"), ({"reads": ""}, "reads"),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "field"), WRONG_RULES)
def test_rules_that_are_not_valid_are_named_and_change_nothing(client, issue, rules, field):
    made = issue()
    before = client.get("/v1/keys").json()
    for answer in (
        client.patch(f"/v1/keys/{made['id']}", json=rules),
        client.post("/v1/keys", json={"name": "x", **rules}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_params"), answer.text
        assert field in {each["field"] for each in answer.json()["errors"]}, answer.text
    assert client.get("/v1/keys").json() == before


@pytest.mark.parametrize("change", [[], "x", 7])
def test_a_change_that_is_no_object_is_refused(client, issue, change):
    answer = client.patch(f"/v1/keys/{issue()['id']}", json=change)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body")


def test_all_rules_that_are_wrong_are_told_at_once(client):
    rules = {"name": " ", "reads": "nobody", "models": ["house"]}
    told = client.post("/v1/keys", json=rules).json()["errors"]
    assert [(each["field"], each["code"]) for each in told] == [
        ("name", "invalid"), ("reads", "conflict"), ("reads", "unknown_name")
    ]  # fmt: skip
    told = client.post("/v1/keys", json={"name": "x", "models": ["hause"], "kinds": ["txt2pic", "upscale"]}).json()
    assert [(each["field"], each["code"]) for each in told["errors"]] == [
        ("kinds", "unknown_name"), ("models", "unknown_name")
    ]  # fmt: skip
    assert "txt2img" in told["errors"][0]["allowed"]
    assert told["errors"][1]["allowed"] == ["house", "photogram-eyes"]


def test_usage_counts_jobs_and_what_became_of_them(holder, worker, body):
    used = holder(limits={"units_per_day": 10})
    drawn, canceled, _ = (used.post("/v1/jobs", json=body(**MEGAPIXEL_STEPS)).json()["id"] for _ in range(3))
    worker.draw(drawn)
    used.post(f"/v1/jobs/{canceled}/cancel")
    found = used.get("/v1/usage").json()
    today = found["days"][0]
    assert (found["queued"], found["running"], found["limits"]) == (1, 0, {"units_per_day": 10})
    assert (today["jobs"], today["succeeded"], today["canceled"]) == (3, 1, 1)
    assert today["units"] == found["month"]["units"] == pytest.approx(2 * 512 * 512 * 4 / 1e6)


def test_jobs_of_a_revoked_key_are_listed_and_deleted_with_their_images(client, issue, worker, body, server_data):
    owner = issue()
    sent = {"Authorization": f"Bearer {owner['key']}"}
    drawn, waiting, running = (client.post("/v1/jobs", json=body(), headers=sent).json()["id"] for _ in range(3))
    worker.draw(drawn)
    worker.start(running)
    client.post(f"/v1/keys/{owner['id']}/revoke")
    assert {job["id"] for job in client.get(f"/v1/keys/{owner['id']}/jobs").json()["jobs"]} == {drawn, waiting, running}
    assert worker.store.find(drawn) is not None
    assert client.delete(f"/v1/keys/{owner['id']}").json()["code"] == "key_in_use"
    assert client.delete(f"/v1/keys/{owner['id']}/jobs").json() == {"deleted": 2, "running": 1}
    assert worker.store.find(drawn) is None
    assert client.get(f"/v1/keys/{owner['id']}/jobs").json()["jobs"] == []
    worker.fail(running)
    assert client.delete(f"/v1/keys/{owner['id']}/jobs").json() == {"deleted": 0, "running": 0}
    assert client.delete(f"/v1/keys/{owner['id']}").status_code == 204
    assert client.get(f"/v1/keys/{owner['id']}").status_code == 404


def test_a_body_without_fields_may_be_left_out(client, issue):
    owner = issue()
    rotated = client.post(f"/v1/keys/{owner['id']}/rotate")
    assert rotated.is_success and rotated.json()["key"] != owner["key"]
    assert client.post("/v1/webhooks/secret").status_code == 201
    for path in (f"/v1/keys/{owner['id']}/rotate", "/v1/webhooks/secret"):
        assert client.post(path, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
        assert client.post(path, json={"grace_s": -1}).status_code == 422


def test_a_rotated_key_keeps_its_jobs(client, issue, body, server_url):
    owner = issue()
    sent = {"Authorization": f"Bearer {owner['key']}"}
    job_id = client.post("/v1/jobs", json=body(), headers=sent).json()["id"]
    rotated = client.post(f"/v1/keys/{owner['id']}/rotate", json={"grace_s": 60}).json()
    assert rotated["id"] == owner["id"] and rotated["key"] != owner["key"]
    for key in (owner["key"], rotated["key"]):
        assert httpx.get(f"{server_url}/v1/jobs/{job_id}", headers={"X-API-Key": key}).status_code == 200


def draw_next(redis, worker):
    """Draw the jobs that come, until there was one."""
    while not (found := waiting_jobs(redis)):
        time.sleep(0.01)
    for job_id in found:
        worker.draw(job_id)


@pytest.mark.parametrize(("path", "body"), SUBMISSIONS)
def test_an_accepted_job_tells_what_is_left_in_each_dialect(holder, worker, redis, path, body):
    worker.ledger.beat("hand")
    limits = {"requests_per_minute": 10, "max_in_flight": 5, "units_per_month": 1000}
    with ThreadPoolExecutor(1) as pool, holder(limits=limits) as limited:
        pool.submit(draw_next, redis, worker)
        answer = limited.post(path, json=body)
    assert answer.is_success, answer.text
    policies = '"requests_per_minute";q=10;w=60, "max_in_flight";q=5, "units_per_month";q=1000;w=2678400'
    assert answer.headers["ratelimit-policy"] == policies
    requests, jobs, units = answer.headers["ratelimit"].split(", ")
    assert (requests, jobs) == ('"requests_per_minute";r=9;t=6', '"max_in_flight";r=4')
    assert re.fullmatch(r'"units_per_month";r=99\d;t=\d+', units)
    assert [answer.headers[f"ratelimit-{name}"] for name in ("limit", "remaining")] == ["5", "4"]


def test_reading_and_a_key_without_limits_tell_none(holder, client, new_job, body):
    assert "ratelimit" not in client.post("/v1/jobs", json=body()).headers
    limited = holder(limits={"max_queued": 5})
    accepted = limited.post("/v1/jobs", json=body())
    assert accepted.headers["ratelimit"] == '"max_queued";r=4'
    assert "ratelimit" not in limited.get(f"/v1/jobs/{accepted.json()['id']}").headers
