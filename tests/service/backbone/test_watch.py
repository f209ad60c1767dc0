"""Waiting for jobs: woken promptly, over in time, and never stuck."""

from __future__ import annotations

import asyncio
import time

import pytest

from models.jobs.records import JobStatus
from service.backbone.connections import connect_async
from service.backbone.keys import KeyRing, add_key, make_key, owner_id
from service.backbone.records import events_key
from service.backbone.settings import Settings, SettingsError
from service.backbone.store import ImageStore
from service.backbone.watch import JobWatcher


@pytest.fixture
async def connection(redis_url):
    connection = connect_async(redis_url, "test")
    yield connection
    await connection.aclose(close_connection_pool=True)


@pytest.fixture
async def watcher(connection):
    watcher = JobWatcher(connection, 3600)
    listening = asyncio.create_task(watcher.listen())
    await asyncio.sleep(0.1)
    yield watcher
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_all_waiters_wake_when_the_job_is_over(watcher, ledger, job):
    waiting = [asyncio.create_task(watcher.wait(job, 10)) for _ in range(20)]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await asyncio.to_thread(ledger.start, job, "a")
    await asyncio.to_thread(ledger.succeed, job, "a", [], {})
    assert {(await each).status for each in waiting} == {JobStatus.SUCCEEDED}
    assert time.monotonic() - began < 1
    assert not watcher._waiting


async def test_a_wait_ends_in_time(watcher, job):
    began = time.monotonic()
    assert (await watcher.wait(job, 0.2)).status is JobStatus.QUEUED
    assert 0.15 < time.monotonic() - began < 1


async def test_a_lost_announcement_delays_a_waiter_only(connection, ledger, job, monkeypatch):
    monkeypatch.setattr("service.backbone.watch._DOUBT_S", 0.2)
    deaf = JobWatcher(connection, 3600)
    waiting = asyncio.create_task(deaf.wait(job, 5))
    await asyncio.to_thread(ledger.start, job, "a")
    await asyncio.to_thread(ledger.succeed, job, "a", [], {})
    assert (await asyncio.wait_for(waiting, 2)).status is JobStatus.SUCCEEDED


async def test_events_of_a_job_that_is_over_end_at_once(watcher, ledger, job, redis):
    ledger.start(job, "a")
    ledger.succeed(job, "a", [], {})
    assert [event.data async for event in watcher.events(job, "0-0", 60)] == ["queued", "running", "succeeded"]
    redis.delete(events_key(job))
    assert [event async for event in watcher.events(job, "0-0", 60)] == []
    assert [event async for event in watcher.events("nothing", "0-0", 60)] == []


async def test_listening_survives_a_lost_connection(watcher, ledger, job, redis):
    redis.client_kill_filter(_type="pubsub")
    await asyncio.sleep(0.8)
    waiting = asyncio.create_task(watcher.wait(job, 4))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await asyncio.to_thread(ledger.start, job, "a")
    await asyncio.to_thread(ledger.succeed, job, "a", [], {})
    assert (await waiting).status is JobStatus.SUCCEEDED
    assert time.monotonic() - began < 1


async def test_workers_count_while_they_are_heard_of(watcher, ledger, redis):
    ledger.beat("a")
    redis.zadd("photogram:workers", {"silent": time.time() - 60})
    assert await watcher.worker_count() == 1


async def test_the_key_ring(connection, redis):
    good = make_key()
    add_key(redis, good, "me")
    ring = KeyRing(connection)
    assert await ring.owner(good) == owner_id(good)
    assert await ring.owner("bad") is None
    redis.flushall()
    assert await ring.owner(good) == owner_id(good)
    assert await KeyRing(connection).owner(good) is None


def test_the_image_store_gives_only_its_own(tmp_path):
    store = ImageStore(tmp_path)
    image_id = "00000000-0000-4000-8000-000000000000"
    assert store.path(image_id) is None
    store.write(image_id, b"one")
    store.write(image_id, b"two")
    assert store.path(image_id).read_bytes() == b"two"
    assert store.path("../" + image_id) is None
    assert [path.name for path in tmp_path.rglob("*.*")] == [f"{image_id}.png"]


def test_settings_name_the_variable_that_makes_no_sense():
    assert Settings.from_environment({}).prodia_list_type == "text/plain;charset=UTF-8"
    for name, value in {
        "PHOTOGRAM_PRODIA_LIST_TYPE": "xml",
        "PHOTOGRAM_ROWS": "many",
        "PHOTOGRAM_MAX_QUEUED": "x",
    }.items():
        with pytest.raises(SettingsError, match=name):
            Settings.from_environment({name: value})
