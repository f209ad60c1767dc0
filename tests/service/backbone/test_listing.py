"""Lists of jobs: filters, search, and pages that hold every job once while jobs arrive and go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis import Redis

from models.jobs.options import JobOptions
from service.backbone import listing
from service.backbone.connections import connect_async
from service.backbone.keyspace import owner_jobs_key, record_key
from service.backbone.listing import Cursor, InvalidCursor, JobListing, JobQuery
from service.backbone.watch import JobWatcher
from tests.intake import BlockingIntake

ALL = JobQuery()


@pytest.fixture
async def jobs(redis: Redis, redis_url: str) -> AsyncIterator[JobListing]:
    connection = connect_async(redis_url, "test")
    yield JobListing(connection, JobWatcher(connection, 3600))
    await connection.aclose(close_connection_pool=True)


@pytest.fixture
def made(redis, ticket):
    """Accepts a job of the owner ``a``; gives its record."""
    intake = BlockingIntake(redis, max_queued=5000)

    def accept(options=None, owner="a", **params):
        opened = replace(ticket(owner=owner, **params), options=JobOptions(**(options or {})))
        return intake.accept(opened, {}).record

    return accept


async def pages(jobs, query=ALL, limit=2, between=lambda: None):
    """The ids on each page, to the end of the list."""
    found, cursor = [], None
    while True:
        page = await jobs.page("a", query, limit, cursor)
        found.append([record.job_id for record in page.records])
        if page.next is None:
            return found
        cursor = Cursor.parse(str(page.next))
        between()


async def listed(jobs, query):
    return joined(await pages(jobs, query, 100))


def joined(found):
    return [job_id for page in found for job_id in page]


def ids(*records):
    return [record.job_id for record in records]


async def test_the_newest_jobs_of_an_owner_come_first(jobs, made):
    records = [made() for _ in range(4)]
    made(owner="b")
    assert (await jobs.page("a", ALL, 10)).records == records[::-1]
    assert (await jobs.page("nobody", ALL, 10)).records == []
    assert joined(await pages(jobs)) == ids(*records[::-1])


async def test_pages_hold_every_job_once_when_jobs_have_the_same_time(jobs, made, redis):
    records = [made() for _ in range(7)]
    redis.zadd(owner_jobs_key("a"), {record.job_id: 1_800_000_000.0 for record in records})
    found = joined(await pages(jobs))
    assert sorted(found) == sorted(ids(*records)) and len(set(found)) == len(found)


async def test_pages_stay_right_while_jobs_arrive_and_are_deleted(jobs, made, redis):
    records = [made(prompt="a cat") for _ in range(9)]

    def change():
        made(prompt="a cat")
        redis.zrem(owner_jobs_key("a"), records[8].job_id)  # the cursor of the first page was behind it

    for query in (ALL, JobQuery(words=("cat",))):
        assert joined(await pages(jobs, query, 1, change))[-8:] == ids(*records[7::-1])


async def test_jobs_that_cannot_be_read_are_left_out(jobs, made, redis):
    records = [made() for _ in range(5)]
    redis.delete(record_key(records[4].job_id))
    redis.hset(record_key(records[2].job_id), "kind", "unheard_of")
    redis.hset(record_key(records[1].job_id), "deleted", "1")
    assert await listed(jobs, ALL) == await listed(jobs, JobQuery(words=("x",))) == ids(records[3], records[0])
    redis.hset(record_key(records[3].job_id), "params", "not JSON")
    assert await listed(jobs, JobQuery(words=("x",))) == ids(records[0])


async def test_each_filter_leaves_out_what_does_not_fit(jobs, made, redis):
    cat = made(dict(tags=["pets", "é t"], metadata={"user": "1"}), prompt="A Cat, sitting")
    dog = made(dict(tags=["pets"], metadata={"user": "2", "a.b": "x=y"}), prompt="Ein HUND")
    plain = made()
    redis.hset(record_key(dog.job_id), "status", "running")
    assert await listed(jobs, JobQuery(tags=("pets",))) == ids(dog, cat)
    assert await listed(jobs, JobQuery(tags=("pets", "é t"))) == ids(cat)
    assert await listed(jobs, JobQuery(metadata=(("user", "2"),))) == ids(dog)
    assert await listed(jobs, JobQuery(metadata=(("a.b", "x=y"),), tags=("pets",))) == ids(dog)
    assert await listed(jobs, JobQuery(metadata=(("user", "3"),))) == []
    assert await listed(jobs, JobQuery(words=("sit", "cat"))) == ids(cat)
    assert await listed(jobs, JobQuery(words=("hund",))) == ids(dog)
    assert await listed(jobs, JobQuery(statuses=frozenset({"queued"}))) == ids(plain, cat)
    assert await listed(jobs, JobQuery(statuses=frozenset({"queued"}), tags=("pets",))) == ids(cat)
    assert await listed(jobs, JobQuery(models=frozenset({"house"}))) == ids(plain, dog, cat)
    assert await listed(jobs, JobQuery(models=frozenset({"sdxl"}))) == []
    assert await listed(jobs, JobQuery(kinds=frozenset({"upscale"}))) == []
    assert await listed(jobs, JobQuery(after=dog.created_at)) == ids(plain, dog)
    assert await listed(jobs, JobQuery(before=dog.created_at)) == ids(cat)
    assert await listed(jobs, JobQuery(has_images=True)) == []
    redis.hset(record_key(cat.job_id), "images", '[{"image_id": "x", "width": 1, "height": 1}]')
    assert await listed(jobs, JobQuery(has_images=True)) == ids(cat)


async def test_a_page_looks_at_a_bounded_number_of_jobs(jobs, made, monkeypatch):
    monkeypatch.setattr(listing, "EXAMINED_MAX", 4)
    monkeypatch.setattr(listing, "_CHUNK", 2)
    wanted = made(prompt="a needle")
    for _ in range(9):
        made()
    found = await pages(jobs, JobQuery(words=("needle",)))
    assert found[:2] == [[], []] and joined(found) == ids(wanted)


@pytest.mark.parametrize("text", ["", "x", "é", "=", "A" * 201, "MSB4IHk", "bmFuIHg", "MSA", "MS4uMiB4", "-" * 100])
def test_a_cursor_that_no_page_gave_is_refused(text):
    with pytest.raises(InvalidCursor):
        Cursor.parse(text)
