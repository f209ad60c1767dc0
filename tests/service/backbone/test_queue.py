"""Taking jobs in: a record and a delivery together or not at all, and repeats told from other requests."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from models.jobs import kinds
from models.jobs.kinds import find_kind
from models.jobs.records import JobStatus
from service.backbone import admission, scripts
from service.backbone.admission import AlreadyUsed, QueueFull, moment
from service.backbone.keyspace import fetches_key, owner_jobs_key, record_key
from service.backbone.queue import open_queue
from tests.intake import BlockingIntake
from tests.service.backbone.damage import UNREADABLE
from tests.waiting import waiting_jobs

QUEUE = "rq:queue:photogram"
OTHER_QUEUE = replace(find_kind("txt2img"), name="txt2img_elsewhere", queue="elsewhere")


def test_a_ticket_becomes_a_record_and_a_delivery(intake, ticket, redis):
    made = ticket("job-1", seed=5)
    accepted = intake.accept(made, {"prompt": "x"})
    assert accepted.is_new
    assert (accepted.record.status, accepted.record.params, accepted.record.owner) == (
        JobStatus.QUEUED, made.params, "owner",
    )  # fmt: skip
    assert redis.lrange(QUEUE, 0, -1) == [b"job-1"]
    delivery = open_queue(redis).fetch_job("job-1")
    assert (delivery.args, delivery.func_name, delivery.timeout) == ([], "workers.tasks.draw", -1)


def test_the_record_and_the_delivery_come_together(redis, ticket):
    with pytest.raises(QueueFull):
        BlockingIntake(redis, max_queued=0).accept(ticket(), {"prompt": "x"}, "key")
    assert redis.keys("*") == []


def test_the_same_request_is_the_same_job(intake, ticket, redis):
    first = intake.accept(ticket("a"), {"prompt": "x"})
    again = intake.accept(ticket("a"), {"prompt": "x"})
    assert (again.is_new, again.record) == (False, first.record)
    assert len(waiting_jobs(redis)) == 1


def test_an_id_belongs_to_one_request_of_one_owner(intake, ticket):
    intake.accept(ticket("a"), {"prompt": "x"})
    with pytest.raises(AlreadyUsed, match=r"^the id 'a' belongs to another request$"):
        intake.accept(ticket("a"), {"prompt": "y"})
    with pytest.raises(AlreadyUsed):
        intake.accept(ticket("a", owner="other"), {"prompt": "x"})


def test_idempotency_keys_belong_to_their_owners(intake, ticket, redis):
    first = intake.accept(ticket(), {"prompt": "x"}, "key")
    assert intake.accept(ticket(), {"prompt": "x"}, "key").record == first.record
    assert intake.accept(ticket(owner="other"), {"prompt": "x"}, "key").is_new
    with pytest.raises(AlreadyUsed, match=r"^the idempotency key belongs to another request$"):
        intake.accept(ticket(), {"prompt": "y"}, "key")
    assert len(waiting_jobs(redis)) == 2


@pytest.mark.parametrize(("field", "value"), [*UNREADABLE, ("kind", "unheard_of")])
def test_an_id_whose_record_cannot_be_read_stays_used(intake, ticket, redis, field, value):
    job_id = intake.accept(ticket(), {"prompt": "x"}, "key").record.job_id
    redis.hset(record_key(job_id), field, value)
    with pytest.raises(AlreadyUsed):
        intake.accept(ticket(job_id), {"prompt": "x"})
    with pytest.raises(AlreadyUsed):
        intake.accept(ticket(), {"prompt": "x"}, "key")


def test_a_full_queue_takes_repeats_only(intake, ticket, redis):
    for number in range(5):
        intake.accept(ticket(f"job-{number}"), {"prompt": "x"})
    with pytest.raises(QueueFull):
        intake.accept(ticket(), {"prompt": "x"})
    assert not intake.accept(ticket("job-0"), {"prompt": "x"}).is_new
    assert len(waiting_jobs(redis)) == 5


def test_a_rush_on_one_id_makes_one_job(intake, ticket, redis):
    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(lambda _: intake.accept(ticket("a"), {"prompt": "x"}), range(24)))
    assert sum(each.is_new for each in accepted) == 1
    assert len(waiting_jobs(redis)) == 1


def test_each_kind_waits_in_the_queue_that_it_names(intake, ticket, redis, monkeypatch):
    monkeypatch.setitem(kinds._KINDS, OTHER_QUEUE.name, OTHER_QUEUE)
    for number in range(5):
        intake.accept(ticket(f"job-{number}"), {"prompt": "x"})
    accepted = intake.accept(replace(ticket("toy"), kind=OTHER_QUEUE.name), {})
    assert accepted.is_new, "the other queue is not full"
    assert redis.lrange("rq:queue:elsewhere", 0, -1) == [b"toy"]
    assert open_queue(redis, "elsewhere").fetch_job("toy").origin == "elsewhere"
    with pytest.raises(QueueFull):
        intake.accept(ticket(), {})


def test_the_jobs_of_an_owner_are_listed_for_as_long_as_records_live(redis, ticket, monkeypatch):
    monkeypatch.setattr(scripts, "_ADMITTING", scripts._ADMITTING.replace(str(scripts.OWNER_JOBS_MAX), "3"))
    monkeypatch.setattr(admission, "TRIM_PROBABILITY", 1.0)
    intake = BlockingIntake(redis, max_queued=10, record_ttl_s=100)
    redis.zadd(owner_jobs_key("owner"), {"expired": time.time() - 101, "old": time.time() - 50})
    for number in range(3):
        intake.accept(ticket(f"job-{number}"), {})
        intake.accept(ticket(f"job-{number}"), {})
    assert redis.zrange(owner_jobs_key("owner"), 0, -1) == [b"job-0", b"job-1", b"job-2"]
    assert 90 < redis.ttl(owner_jobs_key("owner")) <= 100
    score = redis.zscore(owner_jobs_key("owner"), "job-0")
    assert redis.hget("photogram:job:job-0", "created_at") == repr(score).encode()


def test_jobs_that_wait_for_a_fetch_count_as_waiting(intake, ticket, redis):
    redis.zadd(fetches_key(), {f"owner\n{number}\nexample.org\njob": 0 for number in range(3)})
    for number in range(2):
        intake.accept(ticket(f"job-{number}"), {"prompt": "x"})
    with pytest.raises(QueueFull):
        intake.accept(ticket(), {"prompt": "x"})


def test_the_jobs_of_a_batch_have_consecutive_times_whatever_the_clock_says():
    for tick in range(20_000):
        now = 1_796_300_000 + tick * 0.0377123
        times = [moment(now, index) for index in range(5)]
        assert times == sorted(set(times)), now
        assert times == [round(each, 6) for each in times], now
        assert abs(times[0] - now) < 1e-6, now
