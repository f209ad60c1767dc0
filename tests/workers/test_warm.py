"""Warm-first routing: jobs go to the worker that has their model, and never get lost or stuck on the way."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from redis import Redis

from models.catalog.catalog import Catalog
from models.jobs.params import DrawRequest
from models.jobs.records import new_job_id
from models.jobs.tickets import open_ticket
from service.backbone.ledger import Ledger
from service.backbone.queue import Intake, open_queue
from workers import warm
from workers.batch_worker import BatchWorker
from workers.warm import ASIDE_KEY, Standing

CATALOG = Catalog({})
Make = Callable[..., BatchWorker]


@pytest.fixture
def make(redis: Redis) -> Make:
    def worker(name: str, *loaded: str, has_room: bool = True) -> BatchWorker:
        made = BatchWorker(redis, Ledger(redis, 600), name, lambda: CATALOG, lambda: Standing(loaded, has_room))
        made.beat()
        return made

    return worker


def submit(redis: Redis) -> str:
    ticket = open_ticket(DrawRequest(prompt="x"), CATALOG, job_id=new_job_id(), owner="me")
    Intake(redis, 10).accept(ticket, {})
    return ticket.job_id


def beat_all(*workers: BatchWorker) -> None:
    for worker in workers:
        worker.beat()


def taken(worker: BatchWorker) -> str | None:
    slot = worker.take(timeout_s=1)
    return None if slot is None else slot.job_id


def test_a_job_goes_to_the_worker_that_has_its_model(redis: Redis, make: Make) -> None:
    cold, warm_one = make("cold"), make("warm", "house")
    beat_all(cold, warm_one)
    job_id = submit(redis)
    assert taken(cold) is None
    assert taken(warm_one) == job_id
    assert redis.zcard(ASIDE_KEY) == 0


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


def test_what_nobody_took_goes_back_to_the_front_and_is_not_set_aside_again(
    redis: Redis, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold, warm_one = make("cold"), make("warm", "house")
    beat_all(cold, warm_one)
    first, second = submit(redis), submit(redis)
    assert taken(cold) is None
    cold.beat()
    assert redis.zcard(ASIDE_KEY) == 1, "its time is not over"
    monkeypatch.setattr(warm, "ASIDE_S", 0.0)
    time.sleep(0.01)
    cold.beat()
    assert open_queue(redis).get_job_ids() == [first, second]
    assert taken(cold) == first


def test_a_worker_that_left_is_not_counted_on(redis: Redis, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    cold, gone, silent = make("cold"), make("gone", "house"), make("silent", "house")
    gone.sign_off()
    monkeypatch.setattr(warm, "FRESH_S", 0.0)
    time.sleep(0.01)
    cold.beat()
    assert silent.name == "silent"
    job_id = submit(redis)
    assert taken(cold) == job_id
