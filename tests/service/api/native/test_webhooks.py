"""Webhooks over HTTP: endpoints, secrets, the webhook of one job, deliveries and what is refused."""

from __future__ import annotations

import json

import httpx
import pytest

from service.api.app import create_app
from service.backbone.settings import Settings
from service.backbone.webhooks.endpoints import ENDPOINTS_MAX
from tests.polling import until
from tests.webhook_receiver import Receiver
from tests.webhook_receiver import status as answers

URL = "https://example.org/hook"


@pytest.fixture
def api(serve, settings, key):
    """A client of a gateway whose webhooks may go to the loopback."""
    private = Settings(redis_url=settings.redis_url, data=settings.data, webhook_private=True)
    with (
        serve(create_app(private)) as url,
        httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as opened,
    ):
        yield opened


@pytest.fixture
def receiver():
    with Receiver() as opened:
        yield opened


def added(api, receiver, **fields):
    answer = api.post("/v1/webhooks", json={"url": receiver.url, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def submitted(api, body, **fields):
    answer = api.post("/v1/jobs", json=body() | fields)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def test_an_endpoint_gets_the_end_of_a_job_as_get_gives_it(api, receiver, body, worker):
    made = added(api, receiver)
    assert made["secret"].startswith("whsec_") and made["events"] == ["job.finished"]
    job_id = submitted(api, body)
    worker.draw(job_id)
    (got,) = receiver.wait_for(1)
    event = got.verified(made["secret"])
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert event["type"] == "job.finished"
    assert event["data"] == job | {"url": f"{str(api.base_url).rstrip('/')}/v1/jobs/{job_id}"}
    assert job["status"] == "succeeded" and event["data"]["result"]["images"][0]["url"].startswith("http://")
    delivery = api.get(f"/v1/webhook-deliveries/{made['id']}.{job_id}.finished").json()
    until(lambda: api.get(f"/v1/webhooks/{made['id']}/attempts").json()["attempts"])
    assert delivery["message_id"] == got.headers["webhook-id"] and delivery["job_id"] == job_id


def test_all_events_come_in_order_and_progress_at_most_every_two_seconds(api, receiver, body, worker):
    added(api, receiver, events=["job.started", "job.progress", "job.finished"])
    job_id = submitted(api, body)
    worker.start(job_id)
    for step in range(1, 6):
        worker.progress(job_id, step)
    receiver.wait_for(2)
    worker.succeed(job_id)
    receiver.wait_for(3)
    assert receiver.types() == ["job.started", "job.progress", "job.finished"]
    started, progress, finished = (got.event["data"] for got in receiver.got)
    assert started["status"] == progress["status"] == "running" and finished["status"] == "succeeded"
    assert progress["progress"]["step"] == 1 and started["finished_at"] is None


def test_every_end_of_a_job_is_told(api, receiver, body, worker):
    added(api, receiver)
    failed, canceled = submitted(api, body), submitted(api, body)
    worker.start(failed)
    worker.fail(failed)
    assert api.delete(f"/v1/jobs/{canceled}").status_code == 200
    told = {got.event["data"]["id"]: got.event["data"]["status"] for got in receiver.wait_for(2)}
    assert told == {failed: "failed", canceled: "canceled"}


def test_a_job_may_bring_a_url_of_its_own(api, receiver, body, worker):
    webhook = {"url": receiver.url, "events": ["job.started", "job.finished"]}
    refused = api.post("/v1/jobs", json=body() | {"webhook": webhook})
    assert refused.json()["errors"][0]["field"] == "webhook" and "/v1/webhooks/secret" in refused.text
    secret = api.post("/v1/webhooks/secret", json={}).json()["secret"]
    job_id = submitted(api, body, webhook=webhook)
    worker.draw(job_id)
    assert [got.verified(secret)["type"] for got in receiver.wait_for(2)] == ["job.started", "job.finished"]
    again = api.put(f"/v1/jobs/{job_id}", json=body() | {"webhook": webhook})
    other = api.put(f"/v1/jobs/{job_id}", json=body())
    assert (again.status_code, other.status_code) == (200, 409)


def test_a_secret_is_rotated_with_an_overlap(api, receiver, body, worker):
    first = added(api, receiver)["secret"]
    assert added(api, receiver)["secret"] is None
    second = api.post("/v1/webhooks/secret", json={"grace_s": 3600}).json()["secret"]
    worker.draw(submitted(api, body))
    for got in receiver.wait_for(2):
        assert got.verified(first) == got.verified(second)
    third = api.post("/v1/webhooks/secret", json={"grace_s": 0}).json()["secret"]
    worker.draw(submitted(api, body))
    got = receiver.wait_for(3)[-1]
    assert got.headers["webhook-signature"].count("v1,") == 1 and got.verified(third)


def test_an_endpoint_is_tried_changed_and_deleted(api, receiver):
    made = added(api, receiver)
    path = f"/v1/webhooks/{made['id']}"
    queued = api.post(f"{path}/test").json()["delivery_id"]
    assert receiver.wait_for(1)[0].verified(made["secret"])["type"] == "webhook.test"
    until(lambda: api.get(f"{path}/attempts").json()["attempts"])
    (attempt,) = api.get(f"{path}/attempts").json()["attempts"]
    assert (attempt["delivery_id"], attempt["status"], attempt["error"]) == (queued, 200, None)
    changed = api.patch(path, json={"events": ["job.started"], "is_on": False, "description": "mine"}).json()
    assert (changed["events"], changed["is_on"], changed["description"]) == (["job.started"], False, "mine")
    assert changed["off_reason"] == "switched off with the API key"
    assert api.patch(path, json={"is_on": True}).json()["is_on"] is True
    assert api.get("/v1/webhooks").json()["webhooks"] == [api.get(path).json()]
    assert api.delete(path).status_code == 204
    for answer in (api.get(path), api.delete(path), api.post(f"{path}/test"), api.patch(path, json={})):
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found")


def test_an_endpoint_that_is_gone_is_switched_off_and_its_delivery_replayed(api, receiver, body, worker):
    made = added(api, receiver)
    receiver.replies.append(answers(410))
    job_id = submitted(api, body)
    worker.draw(job_id)
    until(lambda: not api.get(f"/v1/webhooks/{made['id']}").json()["is_on"])
    assert api.get(f"/v1/webhooks/{made['id']}").json()["off_reason"] == "it answered 410 Gone"
    worker.draw(submitted(api, body))
    (dead,) = api.get("/v1/webhook-deliveries").json()["deliveries"]
    assert (dead["job_id"], dead["status"], dead["last_attempt"]["status"]) == (job_id, "dead", 410)
    api.patch(f"/v1/webhooks/{made['id']}", json={"is_on": True})
    assert api.post(f"/v1/webhook-deliveries/{dead['id']}/replay").status_code == 202
    first, second = receiver.wait_for(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] and first.body == second.body
    until(lambda: api.get(f"/v1/webhook-deliveries/{dead['id']}").json()["status"] == "delivered")
    assert api.get("/v1/webhook-deliveries").json()["deliveries"] == []


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"url": ""},
        {"url": 7},
        {"url": "ftp://example.org/"},
        {"url": "https://user:pass@example.org/"},
        {"url": "http://127.0.0.1/"},
        {"url": "http://[::ffff:10.0.0.1]/"},
        {"url": "http://169.254.169.254/latest"},
        {"url": "https://example.org:6379/"},
        {"url": "https://example.org/" + "x" * 2048},
        {"url": "https://exa\nmple.org/"},
        {"url": "https://example.org/\x00"},
        {"url": "https://example.org/#"},
        {"url": "https://example.org/?a=1#part"},
        {"url": "https://user@example.org/"},
        {"url": "https://:pass@example.org/"},
        {"url": "https://@example.org/"},
        {"url": " https://example.org/"},
        {"url": "https://example.org/ "},
        {"url": "https://example.org/a b"},
        {"url": "https://exam ple.org/"},
        {"url": "https://example.org/\u00a0x"},
        {"url": "https://example.org/\u202ex"},
        {"url": "https://example.org/\u2028"},
        {"url": "https://example.org\\@127.0.0.1/"},
        {"url": "https:///path"},
        {"url": "//example.org/"},
        {"url": "https://example.org:0/"},
        {"url": "https://example.org:99999/"},
        {"url": "\ud800"},
        {"url": URL, "description": "\ud800"},
        {"url": URL, "description": "\x00"},
        {"url": URL, "events": []},
        {"url": URL, "events": ["job.queued"]},
        {"url": URL, "events": ["job.finished"] * 4},
        {"url": URL, "description": "x" * 201},
        {"url": URL, "secret": "mine"},
        {"url": URL, "events": "job.finished"},
    ],
)
def test_what_no_endpoint_can_be_is_refused(client, body, sent):
    json_type = {"Content-Type": "application/json"}
    answer = client.post("/v1/webhooks", content=json.dumps(sent), headers=json_type)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_params"), answer.text
    wrong = next((name for name in ("secret", "description", "events") if name in sent), "url")
    assert {each["field"].partition("[")[0] for each in answer.json()["errors"]} == {wrong}
    if "secret" not in sent and "description" not in sent:
        client.post("/v1/webhooks/secret", json={})
        answer = client.post("/v1/jobs", content=json.dumps(body() | {"webhook": sent}), headers=json_type)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_params"), answer.text
        assert answer.json()["errors"][0]["field"].startswith("webhook")


def test_hostile_ids_and_queries_are_refused(client):
    for path in ("/v1/webhooks/%00", "/v1/webhooks/" + "x" * 5000, "/v1/webhook-deliveries/%F0%9F%98%80"):
        assert client.get(path).status_code == 404
    for query in ("status=delivered", "limit=0", "limit=101", "limit=x", "what=1"):
        assert client.get(f"/v1/webhook-deliveries?{query}").status_code == 422
    for sent in ({"grace_s": -1}, {"grace_s": 10**12}, {"grace_s": "1"}, {"x": 1}):
        assert client.post("/v1/webhooks/secret", json=sent).status_code == 422
    assert client.post("/v1/webhook-deliveries/x/replay").json()["code"] == "webhook_not_found"


def test_a_key_has_a_limited_number_of_endpoints(client):
    for _ in range(ENDPOINTS_MAX):
        assert client.post("/v1/webhooks", json={"url": URL}).status_code == 201
    answer = client.post("/v1/webhooks", json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_webhooks")
    assert len(client.get("/v1/webhooks").json()["webhooks"]) == ENDPOINTS_MAX


def test_keys_do_not_see_each_others_webhooks(client, stranger):
    made = client.post("/v1/webhooks", json={"url": URL}).json()
    assert stranger.get("/v1/webhooks").json() == {"webhooks": []}
    for path in (f"/v1/webhooks/{made['id']}", f"/v1/webhooks/{made['id']}/attempts"):
        assert stranger.get(path).status_code == 404
    assert stranger.delete(f"/v1/webhooks/{made['id']}").status_code == 404


def test_a_key_without_webhooks_may_have_none(server_url, client, body):
    made = client.post("/v1/keys", json={"name": "none", "webhooks": False}).json()
    assert made["webhooks"] is False
    with httpx.Client(base_url=server_url, headers={"X-API-Key": made["key"]}, timeout=20) as holder:
        answer = holder.post("/v1/webhooks", json={"url": URL})
        assert (answer.status_code, answer.json()["code"]) == (403, "webhooks_forbidden")
        refused = holder.post("/v1/jobs", json=body() | {"webhook": {"url": URL}})
        assert refused.status_code == 422 and "not allowed with this API key" in refused.text


def test_a_key_that_only_reads_changes_no_webhooks(server_url, client):
    made = client.post("/v1/keys", json={"name": "reader", "scopes": ["read"]}).json()
    with httpx.Client(base_url=server_url, headers={"X-API-Key": made["key"]}, timeout=20) as reader:
        assert reader.get("/v1/webhooks").status_code == 200
        assert reader.post("/v1/webhooks", json={"url": URL}).json()["code"] == "missing_scope"
        assert reader.post("/v1/webhooks/secret", json={}).json()["code"] == "missing_scope"


def test_a_deleted_key_leaves_no_webhooks(client, redis):
    made = client.post("/v1/keys", json={"name": "short"}).json()
    with httpx.Client(base_url=client.base_url, headers={"X-API-Key": made["key"]}, timeout=20) as holder:
        holder.post("/v1/webhooks", json={"url": URL})
    assert redis.keys(f"*{made['id']}*webhooks*")
    assert client.delete(f"/v1/keys/{made['id']}").status_code == 204
    assert redis.keys(f"*{made['id']}*webhooks*") == []


def test_the_assistant_takes_no_webhook(client, body):
    answer = client.post("/v1/assist", json={"message": "x", "job": body() | {"webhook": {"url": URL}}})
    assert answer.status_code in (422, 503)
