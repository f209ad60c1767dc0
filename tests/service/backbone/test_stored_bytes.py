"""The bytes that a key has stored: they equal what is there, whoever removes it, and however many do so at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from models.catalog.catalog import Catalog
from models.errors import DrawingFailed, InternalFailure
from models.jobs.params import DrawRequest, UpscaleRequest
from models.jobs.records import new_job_id
from models.jobs.results import Image, StoredFile
from models.jobs.tickets import open_ticket
from service.backbone.allowances import Allowance, LimitReached
from service.backbone.inputs import InputStore
from service.backbone.key_records import KeyRules
from service.backbone.key_store import KeyStore
from service.backbone.keyspace import RETENTION_CURSORS_KEY, STORED_BYTES_KEY, STORED_KEY
from service.backbone.ledger import Ledger
from service.backbone.objects.opening import Stores
from service.backbone.owned_jobs import OwnedJobs
from service.backbone.retention import Retention
from service.backbone.settings import Settings
from service.backbone.store import FileStore, ImageStore
from service.backbone.usage import read_usage
from tests.intake import BlockingIntake

DAY_S = 86400
IMAGE, FILE = b"an image", b"a file"


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(*(store(tmp_path / store.__name__) for store in (ImageStore, FileStore, InputStore)))


@pytest.fixture
def owner(redis: Redis) -> str:
    return KeyStore(redis).create(KeyRules(name="shop")).record.key_id


@pytest.fixture
def owned_jobs(redis: Redis, stores: Stores) -> OwnedJobs:
    return OwnedJobs(redis, stores.images, stores.files, 7 * DAY_S)


Finished = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def finished(redis: Redis, stores: Stores, owner: str) -> Finished:
    """A job that ended, with two images and a file; gives its id and those of the images."""

    def finish(request=None, *, begins: Callable[[str], None] = lambda job_id: None, **options):
        ticket = open_ticket(request or DrawRequest(prompt="x"), Catalog({}), job_id=new_job_id(), owner=owner)
        BlockingIntake(redis, 10_000).accept(ticket, {}, **options)
        ledger = Ledger(redis, 7 * DAY_S)
        assert ledger.start(ticket.job_id, "one") == 0
        begins(ticket.job_id)
        images = [Image(stores.images.add(IMAGE), 8, 8, len(IMAGE)) for _ in range(2)]
        file = StoredFile(stores.files.add(FILE), "a.txt", "text/plain", len(FILE))
        assert ledger.succeed(ticket.job_id, "one", images, {}, files=[file])
        return ticket.job_id, [image.image_id for image in images]

    return finish


ONE_JOB = 2 * len(IMAGE) + len(FILE)


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled"])
def test_an_image_of_an_execution_that_lost_the_job_goes_with_it(
    redis: Redis, stores: Stores, owner: str, owned_jobs: OwnedJobs, outcome: str
) -> None:
    def accepted() -> str:
        ticket = open_ticket(DrawRequest(prompt="x"), Catalog({}), job_id=new_job_id(), owner=owner)
        BlockingIntake(redis, 10_000).accept(ticket, {}, retention_s=DAY_S)
        ledger = Ledger(redis, 7 * DAY_S)
        assert ledger.start(ticket.job_id, "one") == 0 and stores.images.write(ticket.image_id, IMAGE)
        assert ledger.start(ticket.job_id, "two") == 1
        if outcome == "succeeded":
            assert not stores.images.write(ticket.image_id, b"other bytes")
            assert ledger.succeed(ticket.job_id, "two", [Image(stores.images.add(IMAGE), 8, 8, len(IMAGE))], {})
        elif outcome == "failed":
            assert ledger.fail(ticket.job_id, "two", InternalFailure("x"))
        else:
            assert ledger.cancel(ticket.job_id, "two")
        return ticket.job_id

    job_id = accepted()
    if outcome == "succeeded":
        accepted()
        record = Ledger(redis, 7 * DAY_S).read(job_id)
        assert owned_jobs.delete_image(owner, job_id, record.images[0].image_id)
        assert len(list(stores.images.objects.list())) == 2, "all of one job, none of the other"
    assert owned_jobs.delete(owner, job_id)
    kept = 2 if outcome == "succeeded" else 0
    assert len(list(stores.images.objects.list())) == kept
    accepted()
    Retention(redis, stores, Settings()).sweep(time.time() + 1.01 * DAY_S)
    assert list(stores.images.objects.list()) == []


@pytest.fixture
def counted(redis: Redis, stores: Stores, owner: str) -> Callable[[], int]:
    """What the count says; the sizes that it notes must be those of the stores."""

    def count() -> int:
        found = read_usage(redis, owner, time.time(), 1).stored_bytes
        assert found == sum(int(value.split()[0]) for value in redis.hvals(STORED_KEY))
        return found

    return count


def test_what_is_deleted_is_subtracted(owner, owned_jobs, finished, counted):
    jobs = [finished() for _ in range(3)]
    assert counted() == 3 * ONE_JOB
    assert owned_jobs.delete_image(owner, jobs[0][0], jobs[0][1][0])
    assert not owned_jobs.delete_image(owner, jobs[0][0], jobs[0][1][0])
    assert counted() == 3 * ONE_JOB - len(IMAGE)
    assert owned_jobs.delete(owner, jobs[0][0]) and not owned_jobs.delete(owner, jobs[0][0])
    assert counted() == 2 * ONE_JOB
    owned_jobs.delete_all(owner)
    assert counted() == 0


def test_the_files_of_a_job_that_failed_are_counted_and_go_with_it(redis, stores, owner, owned_jobs, counted):
    ticket = open_ticket(DrawRequest(prompt="x"), Catalog({}), job_id=new_job_id(), owner=owner)
    BlockingIntake(redis, 10_000).accept(ticket, {}, retention_s=DAY_S)
    ledger = Ledger(redis, 7 * DAY_S)
    ledger.start(ticket.job_id, "one")
    file = StoredFile(stores.files.add(FILE), "a.txt", "text/plain", len(FILE))
    assert ledger.fail(ticket.job_id, "one", DrawingFailed("no", document={}), [file])
    record = ledger.read(ticket.job_id)
    assert record is not None and record.files == (file,)
    assert counted() == len(FILE)
    redis.delete(STORED_KEY, STORED_BYTES_KEY)
    Retention(redis, stores, Settings()).sweep()
    assert counted() == len(FILE)
    assert owned_jobs.delete(owner, ticket.job_id)
    assert counted() == 0 and list(stores.files.objects.list()) == []


def test_an_image_counts_until_the_last_job_that_starts_from_it_is_deleted(owner, owned_jobs, finished, counted):
    first, images = finished()
    second, _ = finished(UpscaleRequest(image=f"image:{images[0]}"))
    owned_jobs.delete(owner, first)
    assert counted() == ONE_JOB + len(IMAGE)
    owned_jobs.delete(owner, second)
    assert counted() == 0


def test_a_job_that_is_deleted_while_it_runs_counts_nothing(owner, owned_jobs, finished, counted):
    finished(begins=lambda job_id: owned_jobs.delete(owner, job_id))
    assert counted() == 0


def test_what_retention_removes_is_subtracted(redis, stores, finished, counted):
    finished(retention_s=DAY_S)
    finished()
    sweeper = Retention(redis, stores, Settings(image_ttl_s=3 * DAY_S))
    sweeper.sweep(time.time() + 2 * DAY_S)
    assert counted() == ONE_JOB
    sweeper.sweep(time.time() + 4 * DAY_S)  # by its age
    assert counted() == 0


def test_nothing_is_subtracted_twice_however_many_remove_it(redis, stores, owner, owned_jobs, finished, counted):
    jobs = [finished(retention_s=1) for _ in range(40)]
    kept, _ = finished()

    def remove(number: int) -> None:
        for job_id, images in jobs:
            if number % 3 == 0:
                owned_jobs.delete(owner, job_id)
            elif number % 3 == 1:
                owned_jobs.delete_image(owner, job_id, images[0])
            else:
                Retention(redis, stores, Settings()).sweep(time.time() + DAY_S)

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(remove, range(9)))
    assert counted() == ONE_JOB
    owned_jobs.delete(owner, kept)
    assert counted() == 0 and not redis.exists(STORED_BYTES_KEY, STORED_KEY)


def test_results_of_earlier_versions_are_counted_once(redis, stores, owner, owned_jobs, finished, counted):
    jobs = [finished() for _ in range(3)]
    redis.delete(STORED_KEY, STORED_BYTES_KEY)  # as an earlier version leaves it
    finished()
    stores.images.remove(jobs[0][1][0])
    owned_jobs.delete(owner, jobs[1][0])
    sweeper = Retention(redis, stores, Settings())
    for _ in range(2):
        sweeper.sweep()
        assert counted() == 3 * ONE_JOB - len(IMAGE)
    redis.hdel(RETENTION_CURSORS_KEY, "recount")  # as if a gateway had died in between
    sweeper.sweep()
    assert counted() == 3 * ONE_JOB - len(IMAGE)


def test_a_key_that_has_stored_its_limit_submits_again_once_it_has_deleted_something(
    redis, owner, ticket, owned_jobs, finished
):
    job_id, images = finished()
    allowance = Allowance(stored_bytes=ONE_JOB)
    with pytest.raises(LimitReached, match="bytes of images and files") as refusal:
        BlockingIntake(redis, 10).accept(ticket(owner=owner), {}, allowance=allowance)
    assert (refusal.value.limit, refusal.value.high, refusal.value.left) == ("stored_bytes", ONE_JOB, 0)
    owned_jobs.delete_image(owner, job_id, images[0])
    assert BlockingIntake(redis, 10).accept(ticket(owner=owner), {}, allowance=allowance).is_new
