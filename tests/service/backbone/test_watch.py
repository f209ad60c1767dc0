"""The ledger as the gateway reads it: waiting for jobs, their events, and lists of jobs."""

from __future__ import annotations

import asyncio
import time

import pytest

from models.jobs.records import JobStatus
from service.backbone.connections import connect_async
from service.backbone.keyspace import events_key, record_key
from service.backbone.watch import JobEvent, JobWatcher
from tests.service.backbone.damage import UNREADABLE


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


async def test_all_waiters_wake_when_the_job_has_ended(watcher, ledger, job, monkeypatch):
    monkeypatch.setattr("service.backbone.watch._POLL_S", 300.0)  # so that only a message can wake them
    waiting = [asyncio.create_task(watcher.wait(job, 300)) for _ in range(20)]
    await asyncio.sleep(0.05)
    await asyncio.to_thread(ledger.start, job, "a")
    await asyncio.to_thread(ledger.succeed, job, "a", [], {})
    assert {(await each).status for each in waiting} == {JobStatus.SUCCEEDED}
    assert not watcher._waiting


async def test_a_wait_ends_in_time(watcher, job):
    began = time.monotonic()
    assert (await watcher.wait(job, 0.2)).status is JobStatus.QUEUED
    assert time.monotonic() - began > 0.15


async def test_a_lost_announcement_delays_a_waiter_only(connection, ledger, job, monkeypatch):
    monkeypatch.setattr("service.backbone.watch._POLL_S", 0.2)
    deaf = JobWatcher(connection, 3600)
    waiting = asyncio.create_task(deaf.wait(job, 5))
    await asyncio.to_thread(ledger.start, job, "a")
    await asyncio.to_thread(ledger.succeed, job, "a", [], {})
    assert (await asyncio.wait_for(waiting, 2)).status is JobStatus.SUCCEEDED


async def test_what_is_told_before_a_reader_waits_does_not_end_its_wait(watcher, job):
    place = JobEvent("", "queue", "{}")
    events = watcher.events(job, "0-0", 300)
    assert (await anext(events)).kind == "status"
    watcher.tell(job, place)
    found = [await anext(events)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            found.append(await anext(events))
    assert found == [place]
    await events.aclose()


async def test_events_of_a_job_that_is_over_end_at_once(watcher, ledger, job, redis):
    ledger.start(job, "a")
    ledger.succeed(job, "a", [], {})
    assert [event.data async for event in watcher.events(job, "0-0", 60)] == ["queued", "running", "succeeded"]
    redis.delete(events_key(job))
    assert [event async for event in watcher.events(job, "0-0", 60)] == []
    assert [event async for event in watcher.events("nothing", "0-0", 60)] == []


async def test_listening_survives_a_lost_connection(watcher, ledger, job, redis, monkeypatch):
    redis.client_kill_filter(_type="pubsub")
    await asyncio.sleep(0.8)
    monkeypatch.setattr("service.backbone.watch._POLL_S", 300.0)  # so that only a message can wake the waiter
    waiting = asyncio.create_task(watcher.wait(job, 300))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(ledger.start, job, "a")
    await asyncio.to_thread(ledger.succeed, job, "a", [], {})
    assert (await waiting).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize(("field", "value"), UNREADABLE)
async def test_an_unreadable_record_is_treated_as_absent_and_logged_once(
    watcher, intake, ticket, redis, caplog, field, value
):
    made = [intake.accept(ticket(), {}).record for _ in range(2)]
    redis.hset(record_key(made[0].job_id), field, value)
    for _ in range(2):
        assert await watcher.read(made[0].job_id) is None
        assert await watcher.read_all([record.job_id for record in made]) == [made[1]]
    (entry,) = [entry for entry in caplog.records if entry.name == "service.backbone.watch"]
    assert made[0].job_id in entry.getMessage()
