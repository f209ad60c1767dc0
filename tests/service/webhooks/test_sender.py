"""The sender against real receivers: what is retried, given up and switched off, and who waits for whom."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest

from models.jobs.urls import FetchPolicy
from service.backbone import scripts
from service.backbone.cluster_metrics import ClusterMetrics
from service.backbone.connections import connect_async
from service.backbone.key_records import KeyRules
from service.backbone.key_store import KeyStore
from service.backbone.keys import add_key, owner_id
from service.backbone.keyspace import (
    WEBHOOK_LANES_KEY,
    WEBHOOK_LEASES_KEY,
    webhook_delivery_key,
    webhook_health_key,
)
from service.backbone.metrics import REGISTRY
from service.backbone.webhooks import outbox as outbox_module
from service.backbone.webhooks.endpoints import InvalidWebhook, WebhookStore
from service.backbone.webhooks.events import Event, WebhookLinks
from service.backbone.webhooks.schedule import GIVE_UP_S, OFF_AFTER_S
from service.webhooks import attempt
from service.webhooks.payload import PAYLOAD_MAX_BYTES
from tests.polling import until
from tests.service.webhooks.conftest import EXECUTION, OWNER, Rig
from tests.webhook_receiver import Receiver, endless, slow
from tests.webhook_receiver import status as answers

FINISHED = Event.FINISHED
OUTCOMES = ("delivered", "pending", "dead", "dropped")


def test_what_failed_is_sent_again_under_the_same_id(quick, receiver):
    endpoint = quick.endpoint(receiver.url, FINISHED)
    receiver.replies += [answers(500), answers(404), answers(302, Location=f"{receiver.url}/elsewhere")]
    job_id = quick.finished()
    quick.send()
    got = receiver.wait_for(4)
    assert len({each.headers["webhook-id"] for each in got}) == len({each.body for each in got}) == 1
    assert {each.path for each in got} == {"/hook"}  # redirects are not followed
    assert all(each.verified(quick.secret()) for each in got)
    until(lambda: quick.outbox.get(OWNER, f"{endpoint}.{job_id}.finished").status == "delivered")
    assert [each.status for each in quick.outbox.attempts(OWNER, endpoint)] == [200, 302, 404, 500]
    assert quick.outbox.pending(OWNER, 10) == [] and quick.redis.zcard(WEBHOOK_LANES_KEY) == 0


def test_attempts_and_delays_are_counted_and_the_outbox_is_told(quick, receiver, redis_url):
    def counted(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"photogram_webhook_{name}", labels) or 0.0

    async def told(name: str) -> float:
        connection = connect_async(redis_url, "test")
        found = {metric.name: metric for metric in await ClusterMetrics(connection, shows_keys=False).read()}
        await connection.aclose(close_connection_pool=True)
        return found[f"photogram_webhook_{name}"].samples[0].value

    owner = KeyStore(quick.redis).create(KeyRules(name="shop")).record.key_id
    quick.endpoint(receiver.url, FINISHED, owner=owner)
    outcomes = {outcome: counted("attempts_total", event=FINISHED.value, outcome=outcome) for outcome in OUTCOMES}
    delivered, took = counted("delay_seconds_count", event=FINISHED.value), counted("attempt_seconds_count")
    receiver.replies += [answers(500), answers(200), answers(410)]
    for _ in range(2):
        quick.finished(owner)
    assert asyncio.run(told("backlog")) == 2 and asyncio.run(told("oldest_seconds")) >= 0
    quick.send()
    until(lambda: asyncio.run(told("dead")) == 1)
    assert asyncio.run(told("backlog")) == asyncio.run(told("oldest_seconds")) == 0
    rises = [counted("attempts_total", event=FINISHED.value, outcome=each) - outcomes[each] for each in OUTCOMES]
    assert dict(zip(OUTCOMES, rises, strict=True)) == {"delivered": 1, "pending": 1, "dead": 1, "dropped": 0}
    assert counted("delay_seconds_count", event=FINISHED.value) == delivered + 1
    assert counted("attempt_seconds_count") == took + 3


def test_a_delivery_is_given_up_listed_and_replayed(quick, receiver):
    endpoint, receiver.always = quick.endpoint(receiver.url, FINISHED), answers(500)
    job_id = quick.finished()
    quick.send()
    receiver.wait_for(4)
    until(lambda: quick.outbox.dead(OWNER, 10))
    (dead,) = quick.outbox.dead(OWNER, 10)
    assert (dead.subject, dead.attempts, dead.status, dead.last_attempt.status) == (job_id, 4, "dead", 500)
    assert quick.outbox.pending(OWNER, 10) == []
    receiver.always = None
    assert quick.outbox.replay(OWNER, dead.delivery_id).status == "pending"
    receiver.wait_for(5)
    until(lambda: quick.outbox.get(OWNER, f"{endpoint}.{job_id}.finished").status == "delivered")
    assert quick.outbox.dead(OWNER, 10) == []


def test_progress_is_sent_once_and_only_the_newest(quick, receiver):
    quick.endpoint(receiver.url, Event.PROGRESS, FINISHED)
    receiver.always = answers(500)
    job_id = quick.queued()
    quick.ledger.start(job_id, EXECUTION)
    for step in (1, 2):
        quick.ledger.progress(job_id, EXECUTION, step, 20)
        quick.redis.hdel(f"photogram:job:{job_id}", "progress_announced_at")
    quick.send()
    receiver.wait_for(1)
    until(lambda: quick.outbox.pending(OWNER, 10) == [])
    assert receiver.types() == ["job.progress"] and receiver.got[0].event["data"]["progress"]["step"] == 2


def test_the_end_of_a_job_drops_its_progress_that_waits(rig, receiver):
    rig.endpoint(receiver.url)
    job_id = rig.queued()
    rig.ledger.start(job_id, EXECUTION)
    rig.ledger.progress(job_id, EXECUTION, 1, 20)
    rig.ledger.succeed(job_id, EXECUTION, [], {})
    rig.send()
    receiver.wait_for(2)
    assert receiver.types() == ["job.started", "job.finished"]


def test_retry_after_is_followed(rig, receiver):
    rig.endpoint(receiver.url, FINISHED)
    receiver.replies.append(answers(429, Retry_After="3600"))
    rig.finished()
    rig.send()
    until(lambda: [each for each in rig.outbox.pending(OWNER, 10) if each.attempts == 1])
    for _ in range(4):
        rig.finished()
    time.sleep(0.3)
    assert len(receiver.got) == 1  # the other deliveries wait too
    dues = [due for _, due in rig.redis.zrange(WEBHOOK_LANES_KEY, 0, -1, withscores=True)]
    assert dues and min(dues) > time.time() + 3500


@pytest.mark.parametrize(
    ("text", "expected"), [("120", 120), ("9" * 30, 21_600), ("-5", 0), ("soon", 0), ("", 0), (None, 0), ("١٢", 0)]
)
def test_retry_after_is_bounded(text, expected):
    assert attempt._wait_s(text) == expected


def test_retry_after_may_be_a_date():
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 90 < attempt._wait_s(at) <= 100


def test_an_endpoint_that_fails_for_days_is_switched_off_with_the_reason(rig, receiver):
    endpoint, receiver.always = rig.endpoint(receiver.url, FINISHED), answers(503)
    began = time.time() - OFF_AFTER_S - 3600
    rig.redis.hset(webhook_health_key(OWNER, endpoint), "failing_since", repr(began))
    rig.finished()
    rig.send()
    until(lambda: rig.store.get(OWNER, endpoint).health.off_at)
    reason = rig.store.get(OWNER, endpoint).health.off_reason
    assert reason == "no attempt has succeeded for 3.0 days; the last one: it answered 503"
    before = len(receiver.got)
    rig.finished()
    assert len(rig.outbox.pending(OWNER, 10)) == 1 and len(receiver.got) == before


def test_a_success_forgets_earlier_failures(quick, receiver):
    endpoint = quick.endpoint(receiver.url, FINISHED)
    receiver.replies.append(answers(500))
    quick.finished()
    quick.send()
    receiver.wait_for(2)
    until(lambda: quick.store.get(OWNER, endpoint).health.delivered_at)
    assert quick.store.get(OWNER, endpoint).health.failing_since is None


def test_what_has_waited_for_days_is_given_up_without_an_attempt(rig, receiver):
    endpoint = rig.endpoint(receiver.url, FINISHED)
    delivery_id = f"{endpoint}.{rig.finished()}.finished"
    rig.redis.hset(webhook_delivery_key(delivery_id), "queued_at", repr(time.time() - GIVE_UP_S - 1))
    rig.send()
    until(lambda: rig.outbox.dead(OWNER, 10))
    assert receiver.got == []


def test_slow_receivers_delay_neither_others_nor_the_jobs(rig, receiver):
    with Receiver() as sleepy:
        sleepy.always = slow(3)
        rig.endpoint(sleepy.url, FINISHED)
        fast = rig.endpoint(receiver.url, FINISHED)
        rig.send()
        began = time.monotonic()
        for _ in range(20):
            rig.finished()
        assert time.monotonic() - began < 2
        receiver.wait_for(20)
        assert time.monotonic() - began < 3 and len(sleepy.got) <= 2
        assert len(rig.outbox.attempts(OWNER, fast)) >= 18


def test_no_key_takes_all_attempts(rig, receiver, monkeypatch):
    monkeypatch.setattr("service.webhooks.sender.ATTEMPTS_MAX", 6)
    monkeypatch.setattr("service.webhooks.sender.ATTEMPTS_PER_OWNER_MAX", 4)
    with Receiver() as sleepy:
        sleepy.always = slow(4)
        for _ in range(8):
            rig.endpoint(sleepy.url, FINISHED, owner="greedy")
        rig.finished("greedy")
        rig.finished("greedy")
        rig.endpoint(receiver.url, FINISHED)
        rig.send()
        sleepy.wait_for(4)
        rig.finished()
        receiver.wait_for(1, timeout_s=2)
        assert len(sleepy.got) == 4


def test_the_body_of_an_answer_is_not_waited_for(rig, receiver):
    endpoint, receiver.always = rig.endpoint(receiver.url, FINISHED), endless
    rig.finished()
    began = time.monotonic()
    rig.send()
    until(lambda: rig.outbox.attempts(OWNER, endpoint))
    assert time.monotonic() - began < 2
    assert rig.outbox.attempts(OWNER, endpoint)[0].status == 200


def test_an_attempt_has_a_deadline(rig, receiver, monkeypatch):
    monkeypatch.setattr(attempt, "ATTEMPT_S", 0.3)
    endpoint, receiver.always = rig.endpoint(receiver.url, FINISHED), slow(2)
    rig.finished()
    rig.send()
    until(lambda: rig.outbox.attempts(OWNER, endpoint))
    (made,) = rig.outbox.attempts(OWNER, endpoint)
    assert (made.status, made.error) == (None, "127.0.0.1 did not answer within 0.3 s") and made.took_s < 1


def test_a_receiver_that_is_away_gets_everything_when_it_is_back(quick, receiver):
    port = socket.create_server(("127.0.0.1", 0))
    number = port.getsockname()[1]
    port.close()
    endpoint = quick.endpoint(f"http://127.0.0.1:{number}/", FINISHED)
    jobs = {quick.finished() for _ in range(3)}
    quick.send()
    until(lambda: quick.outbox.attempts(OWNER, endpoint))
    assert quick.outbox.attempts(OWNER, endpoint)[0].error == "127.0.0.1 cannot be reached from this server"
    until(lambda: len(quick.outbox.dead(OWNER, 10)) == 3)
    with Receiver(port=number) as back:
        for delivery in quick.outbox.dead(OWNER, 10):
            quick.outbox.replay(OWNER, delivery.delivery_id)
        assert {got.event["data"]["id"] for got in back.wait_for(3)} == jobs


def test_a_sender_that_died_leaves_its_lane_to_another(rig, receiver, monkeypatch):
    monkeypatch.setattr(outbox_module, "LEASE_S", 0.5)
    rig.endpoint(receiver.url, FINISHED)
    job_id = rig.finished()
    assert rig.outbox.claim(()).delivery.subject == job_id  # and it dies
    assert rig.outbox.claim(()) is None
    rig.send()
    assert receiver.wait_for(1)[0].event["data"]["id"] == job_id
    until(lambda: rig.redis.zcard(WEBHOOK_LEASES_KEY) == 0)


def test_several_senders_send_everything_once(rig, receiver):
    rig.endpoint(receiver.url, Event.STARTED, FINISHED)
    for _ in range(3):
        rig.send()
    jobs = [rig.finished() for _ in range(30)]
    receiver.wait_for(60)
    until(lambda: rig.outbox.pending(OWNER, 10) == [])
    told = [(got.event["data"]["id"], got.type) for got in receiver.got]
    assert len(told) == len(set(told)) == 60
    for job_id in jobs:
        assert [kind for told_id, kind in told if told_id == job_id] == ["job.started", "job.finished"]


def test_only_the_end_of_jobs_is_queued_when_too_much_waits(rig, monkeypatch):
    monkeypatch.setattr(scripts, "_OUTBOX", scripts._OUTBOX.replace(f"= {scripts.WEBHOOKS_PENDING_MAX},", "= 3,"))
    small = Rig(rig.redis)
    small.endpoint("http://127.0.0.1:9/")
    for _ in range(5):
        small.finished()
    waiting = [each.event for each in small.outbox.pending(OWNER, 100)]
    assert waiting.count(FINISHED) == 5 and waiting.count(Event.STARTED) == 2


def test_a_revoked_key_sends_nothing_more(redis, rig, receiver):
    add_key(redis, "a-key-that-somebody-chose", "mine")
    owner = owner_id("a-key-that-somebody-chose")
    rig.endpoint(receiver.url, FINISHED, owner=owner)
    rig.finished(owner)
    KeyStore(redis).revoke(owner)
    rig.send()
    until(lambda: rig.outbox.dead(owner, 10))
    assert receiver.got == []


def test_what_a_deleted_endpoint_waits_for_is_dropped(rig, receiver):
    endpoint = rig.endpoint(receiver.url, FINISHED)
    rig.finished()
    rig.store.delete(OWNER, endpoint)
    rig.send()
    until(lambda: rig.outbox.pending(OWNER, 10) == [])
    assert receiver.got == [] and rig.outbox.dead(OWNER, 10) == []


def test_a_deleted_job_is_told_with_its_id_alone(rig, receiver):
    rig.endpoint(receiver.url, FINISHED)
    job_id = rig.finished()
    rig.redis.delete(f"photogram:job:{job_id}")
    rig.send()
    data = receiver.wait_for(1)[0].verified(rig.secret())["data"]
    assert data == {
        "id": job_id, "kind": "txt2img", "status": "succeeded", "is_shortened": True, "url": f"/v1/jobs/{job_id}",
    }  # fmt: skip


def test_a_large_job_is_shortened(rig, receiver):
    rig.endpoint(receiver.url, FINISHED)
    job_id = rig.queued()
    rig.ledger.start(job_id, EXECUTION)
    rig.ledger.succeed(job_id, EXECUTION, [], {}, document="x" * PAYLOAD_MAX_BYTES)
    rig.send()
    (got,) = receiver.wait_for(1)
    assert len(got.body) < 1000
    assert got.event["data"] == {
        "id": job_id, "kind": "txt2img", "status": "succeeded", "is_shortened": True,
        "url": f"http://here/v1/jobs/{job_id}",
    }  # fmt: skip


def test_the_third_crash_of_a_worker_is_told(rig, receiver):
    rig.endpoint(receiver.url)
    job_id = rig.queued()
    while rig.ledger.start(job_id, EXECUTION) is not None:
        pass
    rig.send()
    receiver.wait_for(2)
    assert receiver.types() == ["job.started", "job.finished"]
    assert receiver.got[1].event["data"]["error"]["code"] == "worker_crashed"


def test_a_damaged_record_still_ends(rig, receiver):
    rig.endpoint(receiver.url)
    rig.send()
    job_id = rig.queued()
    rig.redis.hdel(f"photogram:job:{job_id}", "kind")
    rig.ledger.start(job_id, EXECUTION)
    assert rig.ledger.succeed(job_id, EXECUTION, [], {})


# Where webhooks may go


def test_private_addresses_are_neither_added_nor_reached(rig, receiver):
    public = WebhookStore(rig.redis, FetchPolicy())
    with pytest.raises(InvalidWebhook, match=r"127\.0\.0\.1 cannot be reached from this server"):
        public.create(OWNER, "http://127.0.0.1/", [FINISHED], "")
    endpoint = rig.endpoint(f"http://localhost:{receiver.port}/", FINISHED)
    rig.finished()
    rig.send(FetchPolicy(ports=frozenset({receiver.port})))
    until(lambda: rig.outbox.attempts(OWNER, endpoint))
    (made,) = rig.outbox.attempts(OWNER, endpoint)
    assert (made.status, made.error) == (None, "localhost cannot be reached from this server") and receiver.got == []


def test_an_endpoint_whose_url_is_not_allowed_any_more_is_changed_otherwise(rig):
    endpoint = rig.endpoint("http://127.0.0.1:9/", FINISHED)
    public = WebhookStore(rig.redis, FetchPolicy())
    assert public.change(OWNER, endpoint, is_on=False, description="old").health.off_at is not None
    with pytest.raises(InvalidWebhook, match="url: "):
        public.change(OWNER, endpoint, url="http://127.0.0.1:9/#x")
    assert public.get(OWNER, endpoint).url == "http://127.0.0.1:9/"


def test_a_name_that_changes_its_address_is_resolved_once(rig, receiver, monkeypatch):
    """DNS rebinding: the first answer is public, a second one would be private."""
    asked, connected = [], []

    def resolve(host, port, **_):
        asked.append(host)
        address = "93.184.215.14" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(address, timeout):
        connected.append(address[0])
        raise OSError

    rig.endpoint("http://rebinding.example/", FINISHED)
    monkeypatch.setattr("service.backbone.guarded_http.socket.getaddrinfo", resolve)
    monkeypatch.setattr("service.backbone.guarded_http.socket.create_connection", connect)
    answer = attempt.post("http://rebinding.example/", FetchPolicy(), {}, b"{}")
    assert answer.error == "rebinding.example cannot be reached from this server"
    assert (asked, connected) == (["rebinding.example"], ["93.184.215.14"])
    assert attempt.post("http://rebinding.example/", FetchPolicy(), {}, b"{}").status is None
    assert connected == ["93.184.215.14"]


def test_urls_of_jobs_wait_for_themselves_only(quick, receiver):
    """Two URLs of one key: one is away, the other gets its events."""
    quick.store.rotate_secret(OWNER, 0)
    away = WebhookLinks("http://here", "http://127.0.0.1:9/", (FINISHED,))
    here = WebhookLinks("http://here", receiver.url, (Event.STARTED, FINISHED))
    quick.send()
    for _ in range(3):
        quick.finished(links=away)
        quick.finished(links=here)
    receiver.wait_for(6)
    until(lambda: len(quick.outbox.dead(OWNER, 10)) == 3)
    assert all(each.url == "http://127.0.0.1:9/" for each in quick.outbox.dead(OWNER, 10))
    assert json.loads(receiver.got[0].body)["data"]["url"].startswith("http://here/v1/jobs/")


def test_a_url_that_is_gone_is_not_tried_again(rig, receiver):
    rig.store.rotate_secret(OWNER, 0)
    receiver.always = answers(410)
    rig.finished(links=WebhookLinks("", receiver.url, (FINISHED,)))
    rig.send()
    until(lambda: rig.outbox.dead(OWNER, 10))
    assert len(receiver.got) == 1


def test_nothing_is_queued_for_nobody(rig):
    rig.finished()
    assert rig.redis.keys("photogram:webhooks:*") == []
