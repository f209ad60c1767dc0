"""Warm-first routing: jobs go to the worker that has their model, and never get lost or stuck on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from redis import Redis

from service.backbone.keyspace import deferred_key, worker_status_key
from tests.waiting import waiting_jobs
from tests.workers.parts import Parts, submit
from workers import warm

Make = Callable[..., Parts]


@pytest.fixture
def make(redis: Redis) -> Make:
    def worker(name: str, *loaded: str, has_room: bool = True) -> Parts:
        made = Parts(redis, name, loaded, has_room)
        made.maintenance.beat()
        return made

    return worker


def beat_all(*workers: Parts) -> None:
    for worker in workers:
        worker.maintenance.beat()


def taken(worker: Parts) -> str | None:
    job = worker.consumer.take(timeout_s=1)
    return None if job is None else job.job_id


def test_a_job_goes_to_the_worker_that_has_its_model(redis: Redis, make: Make) -> None:
    cold, warm_one = make("cold"), make("warm", "house")
    beat_all(cold, warm_one)
    job_id = submit(redis)
    assert taken(cold) is None
    assert taken(warm_one) == job_id
    assert redis.zcard(deferred_key()) == 0


@pytest.mark.parametrize(("loaded", "has_room"), [((), True), (("house",), False), (("another",), True)])
def test_without_a_better_worker_it_is_taken_at_once(
    redis: Redis, make: Make, loaded: tuple[str, ...], has_room: bool
) -> None:
    cold, other = make("cold"), make("other", *loaded, has_room=has_room)
    beat_all(cold, other)
    job_id = submit(redis)
    assert taken(cold) == job_id


def test_a_worker_alone_takes_everything(redis: Redis, make: Make) -> None:
    job_id = submit(redis)
    assert taken(make("cold")) == job_id


def test_what_nobody_took_goes_back_to_the_front_and_is_not_deferred_again(
    redis: Redis, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold, warm_one = make("cold"), make("warm", "house")
    beat_all(cold, warm_one)
    first, second = submit(redis), submit(redis)
    assert taken(cold) is None
    cold.maintenance.beat()
    assert redis.zcard(deferred_key()) == 1, "its time is not over"
    monkeypatch.setattr(warm, "DEFER_S", 0.0)
    time.sleep(0.01)
    cold.maintenance.beat()
    assert waiting_jobs(redis) == [first, second]
    assert taken(cold) == first


def test_a_worker_that_left_is_not_counted_on(redis: Redis, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    cold, gone, silent = make("cold"), make("gone", "house"), make("silent", "house")
    gone.maintenance.sign_off()
    monkeypatch.setattr(warm, "STATUS_TTL_S", 0.0)
    time.sleep(0.01)
    cold.maintenance.beat()
    assert silent.adapter.name == "silent"
    job_id = submit(redis)
    assert taken(cold) == job_id


def test_the_status_of_a_dead_worker_is_deleted(redis: Redis, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, _ = make("alive"), make("dead", "house")
    alive.maintenance.beat()
    assert set(redis.hkeys(worker_status_key())) == {b"alive", b"dead"}
    status = json.loads(redis.hget(worker_status_key(), "dead"))
    redis.hset(worker_status_key(), "dead", json.dumps(status | {"at": time.time() - warm.STATUS_KEPT_S - 1}))
    alive.maintenance.beat()
    assert redis.hkeys(worker_status_key()) == [b"alive"]
