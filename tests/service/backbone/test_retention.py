"""What is kept long enough is removed, and nothing else; times are passed, not slept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from redis import Redis

from models.catalog.catalog import Catalog
from models.jobs.params import DrawRequest, UpscaleRequest
from models.jobs.records import new_job_id
from models.jobs.results import Image, StoredFile
from models.jobs.tickets import open_ticket
from service.backbone import retention
from service.backbone.inputs import InputStore
from service.backbone.key_records import KeyRules
from service.backbone.key_store import KeyStore
from service.backbone.keyspace import RETENTION_LEASE_KEY, record_key
from service.backbone.ledger import Ledger
from service.backbone.objects.folder import FolderObjects
from service.backbone.objects.opening import Stores
from service.backbone.retention import GRACE_S, PASS_MAX, Retention
from service.backbone.settings import Settings
from service.backbone.store import FileStore, ImageStore
from tests.intake import BlockingIntake

DAY_S = 86400


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(*(store(tmp_path / store.__name__) for store in (ImageStore, FileStore, InputStore)))


@pytest.fixture
def owner(redis: Redis) -> str:
    return KeyStore(redis).create(KeyRules(name="shop")).record.key_id


def submit(redis: Redis, owner: str, request=None, retention_s: int | None = None) -> str:
    ticket = open_ticket(request or DrawRequest(prompt="x"), Catalog({}), job_id=new_job_id(), owner=owner)
    BlockingIntake(redis, 10_000).accept(ticket, {}, retention_s=retention_s)
    return ticket.job_id


def finish(redis: Redis, stores: Stores, job_id: str) -> tuple[str, str]:
    """End the job with an image and a file; gives their ids."""
    ledger = Ledger(redis, 7 * DAY_S)
    assert ledger.start(job_id, "one") == 0
    image, file = ledger.read(job_id).image_id, stores.files.add(b"file")
    assert stores.images.write(image, b"image")
    kept = StoredFile(file, "a.txt", "text/plain", 4)
    assert ledger.succeed(job_id, "one", [Image(image, 8, 8)], {}, files=[kept])
    return image, file


def are_there(stores: Stores, image: str, file: str) -> tuple[bool, bool]:
    return stores.images.find(image) is not None, stores.files.find(file) is not None


def age(stores: Stores, kind: str, name: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(getattr(stores, kind).find(name).path, (then, then))


def test_results_and_record_end_when_the_rule_says_so(redis: Redis, stores: Stores, owner: str) -> None:
    short, long, ever = (submit(redis, owner, retention_s=each) for each in (DAY_S, 30 * DAY_S, None))
    results = [finish(redis, stores, each) for each in (short, long, ever)]
    ttls = [redis.ttl(record_key(each)) for each in (short, long, ever)]
    assert [round(ttl / DAY_S) for ttl in ttls] == [1, 7, 7], "a record is kept for a week at most"
    sweeper, now = Retention(redis, stores, Settings()), time.time()
    for days, left in ((0.99, [True, True, True]), (1.01, [False, True, True]), (31, [False, False, True])):
        sweeper.sweep(now + days * DAY_S)
        assert [are_there(stores, *each) for each in results] == [(there, there) for there in left], days


def test_a_file_is_never_removed_before_the_record_that_names_it(redis: Redis, stores: Stores, owner: str) -> None:
    job = submit(redis, owner, retention_s=100)
    image, file = finish(redis, stores, job)
    ends_at = time.time() + redis.ttl(record_key(job))
    assert Retention(redis, stores, Settings()).sweep(ends_at + GRACE_S - 2) == 0
    assert are_there(stores, image, file) == (True, True)
    assert Retention(redis, stores, Settings()).sweep(ends_at + GRACE_S + 2) == 2


def test_a_job_itself_can_only_make_the_time_shorter(redis: Redis, stores: Stores, owner: str) -> None:
    jobs = [submit(redis, owner, retention_s=each) for each in (1000, 1000, None)]
    for job, own_s in zip(jobs, (10, 5000, 10), strict=True):
        redis.hset(record_key(job), "retain_s", own_s)
        finish(redis, stores, job)
    ttls = [redis.ttl(record_key(job)) for job in jobs]
    assert all(abs(ttl - wanted) <= 2 for ttl, wanted in zip(ttls, (10, 1000, 10), strict=True)), ttls


def test_what_a_waiting_job_starts_from_stays(redis: Redis, stores: Stores, owner: str) -> None:
    image, file = finish(redis, stores, submit(redis, owner, retention_s=10))
    upload, other = stores.inputs.add(b"upload"), stores.inputs.add(b"other")
    for each in (upload, other):
        age(stores, "inputs", each, 10 * DAY_S)
    waiting = [submit(redis, owner, UpscaleRequest(image=source)) for source in (f"image:{image}", f"input:{upload}")]
    sweeper, now = Retention(redis, stores, Settings()), time.time()
    assert sweeper.sweep(now + 100) == 2, "the file and the other upload"
    assert are_there(stores, image, file) == (True, False)
    assert stores.inputs.find(upload) is not None and stores.inputs.find(other) is None
    for job in waiting:
        finish(redis, stores, job)
    assert sweeper.sweep(now + 100 + retention.POSTPONED_S + GRACE_S + 1) == 2
    assert stores.images.find(image) is None and stores.inputs.find(upload) is None


def test_what_no_record_notes_goes_by_its_age(redis: Redis, stores: Stores, owner: str) -> None:
    kept_longer = finish(redis, stores, submit(redis, owner, retention_s=30 * DAY_S))
    orphan, young = (stores.images.add(each) for each in (b"orphan", b"young"))
    for each, seconds in ((kept_longer[0], 10 * DAY_S), (orphan, 10 * DAY_S), (young, DAY_S + 60)):
        age(stores, "images", each, seconds)
    assert Retention(redis, stores, Settings()).sweep() == 0, "without a rule, results are kept for ever"
    assert Retention(redis, stores, Settings(image_ttl_s=DAY_S)).sweep() == 1
    found = [stores.images.find(each) is not None for each in (kept_longer[0], orphan, young)]
    assert found == [True, False, True], "a job that still runs may have stored the young one"


def test_conversions_go_with_their_image(redis: Redis, stores: Stores, owner: str) -> None:
    noted, _ = finish(redis, stores, submit(redis, owner, retention_s=20 * DAY_S))
    old = stores.images.add(b"old")
    for each in (noted, old):
        stores.images.keep_converted(each, "q95.jpg", b"jpeg")
        age(stores, "images", each, 10 * DAY_S)
    os.utime(stores.images.objects.find(f"{noted[:2]}/{noted}.q95.jpg").path, (0, 0))
    sweeper = Retention(redis, stores, Settings(image_ttl_s=DAY_S))
    sweeper.sweep()
    assert {stores.images.original(each.name) for each in stores.images.objects.list()} == {stores.images.name(noted)}
    assert len(list(stores.images.objects.list())) == 2, "the image and its conversion"
    sweeper.sweep(time.time() + 21 * DAY_S)
    assert list(stores.images.objects.list()) == []


def test_a_pass_is_bounded_and_the_next_one_goes_on(
    redis: Redis, stores: Stores, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PASS_MAX", 10)
    for number in range(25):
        age(stores, "inputs", stores.inputs.add(b"%d" % number), 10 * DAY_S)
    sweeper = Retention(redis, stores, Settings())
    assert [sweeper.sweep() for _ in range(4)] == [10, 10, 5, 0]
    assert PASS_MAX > 10


def test_one_gateway_sweeps_at_a_time(redis: Redis, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    upload, entered = stores.inputs.add(b"x"), []
    age(stores, "inputs", upload, 10 * DAY_S)
    first, second = (Retention(redis, stores, Settings()) for _ in range(2))
    remove = FolderObjects.remove

    def remove_slowly(self: FolderObjects, name: str) -> None:
        entered.append(second.sweep())
        remove(self, name)

    monkeypatch.setattr(FolderObjects, "remove", remove_slowly)
    assert first.sweep() == 1 and entered == [0]
    assert not redis.exists(RETENTION_LEASE_KEY), "the next pass need not wait"
    redis.set(RETENTION_LEASE_KEY, "a gateway that was killed", ex=300)
    assert second.sweep() == 0


def test_a_killed_process_leaves_nothing_half_written(redis: Redis, stores: Stores, tmp_path: Path) -> None:
    stores.images.add(b"whole")
    partial = tmp_path / "ImageStore" / "00" / "x.partial"
    partial.parent.mkdir(exist_ok=True)
    partial.write_bytes(b"half")
    os.utime(partial, (0, 0))
    assert Retention(redis, stores, Settings()).remove_partial(900) == 1 and not partial.exists()
