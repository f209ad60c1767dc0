"""The fingerprints of an owner's images in memory: all that Redis has, and nothing that was deleted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import numpy as np
import pytest
from redis import Redis

from models.eyes.encoders import WIDTH
from models.eyes.fingerprints import Fingerprint
from models.jobs.results import Image
from service.backbone import image_index, scripts
from service.backbone.connections import connect_async
from service.backbone.image_index import ImageIndex
from service.backbone.keyspace import owner_fingerprints_key, record_key
from service.backbone.ledger import Ledger
from service.backbone.objects.opening import open_stores
from service.backbone.owned_jobs import OwnedJobs
from service.backbone.settings import Settings


@pytest.fixture
async def index(redis: Redis, redis_url: str) -> AsyncIterator[ImageIndex]:
    connection = connect_async(redis_url, "test")
    yield ImageIndex(connection)
    await connection.aclose(close_connection_pool=True)


def fingerprint(seed: int) -> Fingerprint:
    vector = np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
    return Fingerprint(vector / np.linalg.norm(vector), seed)


@pytest.fixture
def finished(finished_with):
    """Ends a job of the owner with images that have these fingerprints; gives its id."""
    return finished_with()


@pytest.fixture
def finished_with(redis, intake, ticket):
    """As ``finished``, by a ledger that is opened when this is called."""
    return lambda: _finisher(Ledger(redis, record_ttl_s=3600), intake, ticket)


def _finisher(ledger, intake, ticket):
    def finish(*seeds, owner="a"):
        job_id = intake.accept(ticket(owner=owner), {}).record.job_id
        assert ledger.start(job_id, "e") == 0
        images = [Image(f"{job_id}-{seed}", 8, 8, 1) for seed in seeds]
        kept = {image.image_id: fingerprint(seed).to_text() for image, seed in zip(images, seeds, strict=True)}
        assert ledger.succeed(job_id, "e", images, {}, fingerprints=kept)
        return job_id

    return finish


@pytest.fixture
def owned(redis, tmp_path):
    stores = open_stores(Settings(data=tmp_path))
    return OwnedJobs(redis, stores.images, stores.files, 3600)


def seeds(found):
    """The seeds of the images in an index, whose vectors must be theirs."""
    for image, vector, number in zip(found.images, found.vectors, found.hashes, strict=True):
        assert image.image_id == f"{image.job_id}-{number}"
        assert np.allclose(vector, fingerprint(int(number)).vector, atol=1e-3)
    return [int(number) for number in found.hashes]


async def test_each_search_sees_what_has_ended_before(index, finished):
    assert seeds(await index.of("a")) == []
    finished(1, 2)
    assert seeds(await index.of("a")) == [1, 2]
    for seed in range(3, 200):
        finished(seed) if seed % 40 == 0 else None
    finished(500, owner="b")
    assert seeds(await index.of("a")) == [1, 2, 40, 80, 120, 160]
    assert seeds(await index.of("b")) == [500]


async def test_many_jobs_are_read_in_pieces(index, finished, monkeypatch):
    monkeypatch.setattr(image_index, "_CHUNK", 2)
    for seed in range(5):
        finished(seed)
    assert seeds(await index.of("a")) == [0, 1, 2, 3, 4]


async def test_deleted_jobs_leave_the_index(index, finished, owned):
    first = finished(1)
    finished(2)
    assert seeds(await index.of("a")) == [1, 2]
    assert owned.delete("a", first)
    assert seeds(await index.of("a")) == [2]
    owned.delete_all("a")
    finished(3)
    assert seeds(await index.of("a")) == [3]


async def test_a_job_that_is_deleted_while_it_runs_is_never_found(index, redis, intake, ticket, owned):
    ledger = Ledger(redis, record_ttl_s=3600)
    job_id = intake.accept(ticket(owner="a"), {}).record.job_id
    ledger.start(job_id, "e")
    owned.delete("a", job_id)
    ledger.succeed(job_id, "e", [Image("i", 8, 8, 1)], {}, fingerprints={"i": fingerprint(1).to_text()})
    assert redis.zcard(owner_fingerprints_key("a")) == 0
    assert seeds(await index.of("a")) == []


async def test_a_deleted_image_leaves_the_record(index, finished, owned, redis):
    job_id = finished(1, 2)
    assert owned.delete_image("a", job_id, f"{job_id}-1")
    assert list(json.loads(redis.hget(record_key(job_id), "fingerprints"))) == [f"{job_id}-2"]
    assert seeds(await index.of("a")) == [2]


async def test_expired_and_damaged_records_cannot_be_found(index, finished, redis, caplog):
    expired, damaged, good = finished(1), finished(2), finished(3)
    redis.delete(record_key(expired))
    redis.hset(record_key(damaged), "fingerprints", json.dumps({"x": "AAAA"}))
    assert seeds(await index.of("a")) == [3]
    assert redis.zrange(owner_fingerprints_key("a"), 0, -1) == [damaged.encode(), good.encode()]
    assert f"images of job {damaged} cannot be searched" in caplog.text


async def test_the_oldest_jobs_are_left_out_when_there_are_too_many(index, finished_with, monkeypatch):
    limited = scripts._CONSTANTS.replace(f"SEARCHED_MAX = 'photogram:owner:%s:fingerprints', {scripts.SEARCHED_MAX}",
                                         "SEARCHED_MAX = 'photogram:owner:%s:fingerprints', 2")  # fmt: skip
    assert limited != scripts._CONSTANTS
    monkeypatch.setattr(scripts, "_CONSTANTS", limited)
    for seed in range(4):
        finished_with()(seed)
    assert seeds(await index.of("a")) == [2, 3]


async def test_indexes_used_long_ago_are_forgotten(redis, redis_url, finished):
    connection = connect_async(redis_url, "test")
    index = ImageIndex(connection, memory_bytes=1)
    finished(1)
    finished(2, owner="b")
    first = await index.of("a")
    assert seeds(await index.of("b")) == [2]
    again = await index.of("a")
    assert again is not first and seeds(again) == [1]
    await connection.aclose(close_connection_pool=True)
