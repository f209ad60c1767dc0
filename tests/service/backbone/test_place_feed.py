"""Places are read for all watched jobs together, only when something has changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from service.backbone import place_feed
from service.backbone.connections import connect_async
from service.backbone.place_feed import PlaceFeed
from service.backbone.places import Places
from service.backbone.watch import JobWatcher
from tests.intake import BlockingIntake

WATCHED = 30


class Reader:
    """Reads the events of a job until it is told so many places."""

    def __init__(self, watcher: JobWatcher, job_id: str) -> None:
        self.places: list[int] = []
        self.task = asyncio.create_task(self._read(watcher, job_id))

    async def _read(self, watcher: JobWatcher, job_id: str) -> None:
        async for event in watcher.events(job_id, "0-0", 60):
            if event is not None and event.kind == place_feed.PLACE:
                self.places.append(json.loads(event.data)["ahead"])

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.places) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def watcher(redis_url) -> AsyncIterator[JobWatcher]:
    connection = connect_async(redis_url, "test")
    watcher = JobWatcher(connection, 3600)
    listening = asyncio.create_task(watcher.listen())
    await asyncio.sleep(0.1)
    yield watcher
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await connection.aclose(close_connection_pool=True)


@pytest.fixture
async def feed(redis_url, watcher, monkeypatch) -> AsyncIterator[PlaceFeed]:
    monkeypatch.setattr(place_feed, "EVERY_S", 0.05)
    connection = connect_async(redis_url, "test")
    feed = PlaceFeed(Places(connection), watcher)
    running = asyncio.create_task(feed.run())
    yield feed
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await connection.aclose(close_connection_pool=True)


async def test_redis_is_asked_once_for_all_who_wait_and_not_while_nothing_changes(redis, watcher, feed, intake, ticket):
    intake = BlockingIntake(redis, max_queued=1000)
    jobs = [intake.accept(ticket(), {}).record for _ in range(WATCHED + 2)]
    readers = [Reader(watcher, job.job_id) for job in jobs[2:]]
    follows = [feed.following(job) for job in jobs[2:]]
    await asyncio.sleep(0.05)
    for each in follows:
        each.__enter__()
    for reader in readers:
        await reader.until(1)
    assert [reader.places for reader in readers] == [[ahead] for ahead in range(1, WATCHED + 1)]

    redis.config_resetstat()
    await asyncio.sleep(0.5)
    assert "cmdstat_zrank" not in redis.info("commandstats"), "nothing has changed"
    await watcher.cancel(jobs[1].job_id)
    for reader in readers:
        await reader.until(2)
    assert [reader.places[1] for reader in readers] == list(range(WATCHED))
    stats = redis.info("commandstats")
    assert stats["cmdstat_zrange"]["calls"] <= 6 and stats["cmdstat_zcount"]["calls"] <= 3, "once for all of them"

    for each in follows:
        each.__exit__(None, None, None)
    assert not feed._followed
    for reader in readers:
        reader.task.cancel()


async def test_a_feed_goes_on_after_an_outage(redis, watcher, feed, intake, ticket, monkeypatch):
    first, job = (intake.accept(ticket(), {}).record for _ in range(2))
    reader, read, failures = Reader(watcher, job.job_id), feed._places.of_all, [OSError("gone")]

    async def read_later(records):
        if failures:
            raise failures.pop()
        return await read(records)

    monkeypatch.setattr(feed._places, "of_all", read_later)
    with feed.following(job):
        async with asyncio.timeout(10):
            while failures:
                await asyncio.sleep(0.01)
        await watcher.cancel(first.job_id)
        await reader.until(1)
    reader.task.cancel()
