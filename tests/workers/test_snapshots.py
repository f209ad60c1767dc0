"""What is drawn of a job when its worker stops or dies: the next worker goes on there."""

from __future__ import annotations

import queue
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from redis import Redis
from redis.exceptions import RedisError

from models.errors import InternalFailure
from models.jobs.records import JobStatus
from service.backbone.keyspace import snapshot_key
from service.backbone.store import ImageStore
from tests.workers.conftest import World
from tests.workers.parts import Parts, submit
from workers.executors import Executors, Finished, Progressed
from workers.held_jobs import HeldJob
from workers.loop import JobLoop

STEPS = 300


def stop(parts: Parts, job: HeldJob, save: Any, events: tuple[Any, ...] = (), **options: Any) -> None:
    """Let a worker that runs ``job`` take one turn with ``events``, and then stop."""
    engine: Any = SimpleNamespace(
        poll=lambda: list(events), save=save, stop=lambda execution_id: None, is_idle=False, room=2, longest_call_s=0.0
    )
    prepare: Any = SimpleNamespace(ready=queue.SimpleQueue(), start=lambda: None, stop=lambda: None)
    finish: Any = SimpleNamespace(close=lambda: None, try_again=lambda: None, succeed=lambda *_: None)
    loop = JobLoop(parts.consumer, prepare, Executors(engine, None), finish, job_timeout_s=600, **options)
    assert job.become_ready() and job.start_running()
    loop._turn()
    loop._drain()


def take(parts: Parts) -> HeldJob:
    job = parts.consumer.take(timeout_s=1)
    assert job is not None
    return job


@pytest.fixture(autouse=True)
def short_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.loop.DRAIN_S", 0.0)


def test_a_worker_that_stops_hands_over_what_it_has_drawn(redis: Redis) -> None:
    job_id = submit(redis)
    first, second = Parts(redis), Parts(redis, "two")
    stop(first, take(first), save=lambda execution_id: b"half an image")
    record = first.ledger.read(job_id)
    assert record is not None and record.status is JobStatus.QUEUED
    assert take(second).snapshot == b"half an image"


def test_a_job_that_is_new_is_not_asked_for(redis: Redis) -> None:
    job_id = submit(redis)
    redis.set(snapshot_key(job_id), b"of nobody")
    assert take(Parts(redis)).snapshot is None


def test_nothing_drawn_is_nothing_kept(redis: Redis) -> None:
    job_id = submit(redis)
    parts = Parts(redis)
    stop(parts, take(parts), save=lambda execution_id: None)
    assert not redis.exists(snapshot_key(job_id))
    assert take(Parts(redis, "two")).snapshot is None


def test_a_snapshot_that_cannot_be_kept_keeps_no_job_from_the_queue(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise RedisError("OOM command not allowed when used memory > 'maxmemory'")

    job_id = submit(redis)
    parts = Parts(redis)
    job = take(parts)
    monkeypatch.setattr(parts.ledger, "keep_snapshot", refuse)
    stop(parts, job, save=lambda execution_id: b"much")
    assert take(Parts(redis, "two")).job_id == job_id


def test_every_few_steps_it_is_kept(redis: Redis) -> None:
    job_id, kept = submit(redis), []
    parts = Parts(redis)
    job = take(parts)

    def save(execution_id: str) -> bytes:
        kept.append(execution_id)
        return b"saved"

    steps = tuple(Progressed(job.execution_id, step, 8) for step in range(1, 9))
    finished = Finished(job.execution_id, SimpleNamespace(), {})  # type: ignore[arg-type]
    stop(parts, job, save, (*steps, finished), snapshot_every=3)
    assert len(kept) == 2, "after steps 3 and 6; the job that ends is not saved"
    assert job_id == job.job_id


def test_only_the_execution_that_has_the_job_may_keep_it(redis: Redis) -> None:
    job_id = submit(redis)
    parts = Parts(redis)
    job = take(parts)
    assert not parts.ledger.keep_snapshot(job_id, "another", b"old")
    assert parts.ledger.keep_snapshot(job_id, job.execution_id, b"new")
    assert parts.ledger.snapshot(job_id) == b"new"
    assert 0 < redis.ttl(snapshot_key(job_id)) <= 24 * 3600


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel"])
def test_the_end_of_a_job_deletes_it(redis: Redis, end: str) -> None:
    job_id = submit(redis)
    parts = Parts(redis)
    job = take(parts)
    parts.ledger.keep_snapshot(job_id, job.execution_id, b"half")
    further: dict[str, tuple[Any, ...]] = {"succeed": ([], {}), "fail": (InternalFailure("x"),), "cancel": ()}
    assert getattr(parts.ledger, end)(job_id, job.execution_id, *further[end])
    assert not redis.exists(snapshot_key(job_id))


def test_a_suspect_begins_again(redis: Redis) -> None:
    """What is drawn may be what kills its workers."""
    job_id = submit(redis)
    parts = Parts(redis)
    job = take(parts)
    parts.ledger.keep_snapshot(job_id, job.execution_id, b"half")
    record = parts.ledger.read(job_id)
    assert record is not None
    assert parts.consumer._open(job.delivery, 1, record).snapshot == b"half"
    assert parts.consumer._open(job.delivery, 2, record).snapshot is None


def test_the_next_worker_goes_on_where_the_killed_one_was(world: World) -> None:
    """A job that is given the snapshot of another one comes to the other's image: so it did not begin again."""
    world.set_environment(PHOTOGRAM_SNAPSHOT_EVERY="20", PHOTOGRAM_BACKEND="eager")
    other = world.submit(seed=1, num_inference_steps=STEPS)
    worker = world.start_worker()
    world.until_step(other, STEPS // 2)
    world.kill(worker)
    snapshot = world.ledger.snapshot(other)
    assert snapshot is not None

    worker = world.start_worker()
    world.until_over(other)
    whole = world.submit(seed=1, num_inference_steps=STEPS)
    world.until_over(whole)
    given = world.submit(seed=2, num_inference_steps=STEPS)
    world.until_step(given, STEPS // 3)
    world.kill(worker)
    world.redis.set(snapshot_key(given), snapshot)
    world.start_worker()
    records = world.until_over(other, whole, given)
    assert [record.status for record in records] == [JobStatus.SUCCEEDED] * 3
    store = ImageStore(world.data / "images")
    stored = [store.find(record.images[0].image_id) for record in records]
    images = [Image.open(BytesIO(each.read())).tobytes() for each in stored if each is not None]
    assert images[1] == images[0], "to the bit, as if its worker had lived"
    assert images[2] == images[0], "it went on from what it was given"
    assert world.redis.keys("photogram:job:*:snapshot") == []
