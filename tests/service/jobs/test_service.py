"""The job service as a caller inside the server uses it: no request, no response, no web framework."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image as PilImage
from redis import Redis

from models.errors import InvalidTicket, ProblemCode
from models.jobs.params import SEED_MAX, DrawRequest, UpscaleRequest
from models.jobs.records import JobStatus
from models.jobs.results import Image
from service.backbone.ledger import Ledger
from service.backbone.queue import AlreadyUsed, QueueFull
from service.backbone.store import ImageStore
from service.jobs.caller import Caller
from service.jobs.errors import ImageGone, ImageRefused, JobNotFound
from service.jobs.service import JobService
from tests.service.jobs.conftest import MAX_QUEUED

ME, OTHER = Caller("me"), Caller("other")
REQUEST = DrawRequest(prompt="a cat", seed=1)


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis, 3600)


def png(size: int = 8) -> bytes:
    buffer = BytesIO()
    PilImage.new("RGB", (size, size)).save(buffer, "PNG")
    return buffer.getvalue()


async def test_a_job_is_submitted_found_and_cancelled(jobs: JobService) -> None:
    record = (await jobs.submit(ME, REQUEST)).record
    assert (await jobs.find(ME, record.job_id)) == record
    assert (record.owner, record.status, record.requested["params"]) == ("me", JobStatus.QUEUED, {
        "prompt": "a cat", "seed": 1,
    })  # fmt: skip
    assert (await jobs.cancel(ME, record.job_id)).status is JobStatus.CANCELED


async def test_jobs_of_another_key_do_not_exist(jobs: JobService) -> None:
    job_id = (await jobs.submit(ME, REQUEST)).record.job_id
    for attempt in (jobs.find, jobs.cancel):
        with pytest.raises(JobNotFound):
            await attempt(OTHER, job_id)
    for wrong in ("", "nothing", "a/b", "x" * 65):
        with pytest.raises(JobNotFound):
            await jobs.find(ME, wrong)


async def test_the_same_idempotency_key_is_the_same_job(jobs: JobService) -> None:
    first, second = [await jobs.submit(ME, REQUEST, idempotency_key="k") for _ in range(2)]
    assert (first.is_new, second.is_new) == (True, False)
    assert first.record.job_id == second.record.job_id
    with pytest.raises(AlreadyUsed):
        await jobs.submit(ME, DrawRequest(prompt="a dog"), idempotency_key="k")


async def test_a_series_has_consecutive_seeds(jobs: JobService) -> None:
    records = await jobs.submit_series(ME, REQUEST, 3)
    assert [record.params.to_payload()["seed"] for record in records] == [1, 2, 3]
    (drawn, next_one) = await jobs.submit_series(ME, DrawRequest(prompt="x"), 2)
    assert next_one.params.to_payload()["seed"] == drawn.params.to_payload()["seed"] + 1


async def test_a_series_that_does_not_fit_leaves_nothing_queued(jobs: JobService, redis: Redis) -> None:
    with pytest.raises(QueueFull):
        await jobs.submit_series(ME, REQUEST, MAX_QUEUED + 1)
    statuses = [redis.hget(key, "status") for key in redis.keys("photogram:job:*") if not key.endswith(b":events")]
    assert statuses == [b"canceled"] * MAX_QUEUED
    with pytest.raises(InvalidTicket) as caught:
        await jobs.submit_series(ME, DrawRequest(prompt="x", seed=SEED_MAX), 2)
    (problem,) = caught.value.problems
    assert (problem.field, problem.code, problem.high) == ("seed", ProblemCode.OUT_OF_RANGE, SEED_MAX - 1)


async def test_all_requests_are_queued_or_none(jobs: JobService, redis: Redis) -> None:
    with pytest.raises(InvalidTicket):
        await jobs.submit_all(ME, [REQUEST, DrawRequest(prompt="")])
    (status,) = (redis.hget(key, "status") for key in redis.keys("photogram:job:*") if not key.endswith(b":events"))
    assert status == b"canceled"


async def test_a_wait_ends_with_the_job(jobs: JobService, ledger: Ledger) -> None:
    job_id = (await jobs.submit(ME, REQUEST)).record.job_id
    assert (await jobs.wait(ME, job_id, 0)).status is JobStatus.QUEUED
    waiting = asyncio.create_task(jobs.wait(ME, job_id, 30))
    await asyncio.to_thread(ledger.start, job_id, "a")
    await asyncio.to_thread(ledger.succeed, job_id, "a", [Image("none", 8, 8)], {})
    record = await waiting
    assert record.status is JobStatus.SUCCEEDED
    with pytest.raises(ImageGone):
        jobs.read_images(record)


async def test_a_watcher_sees_the_events(jobs: JobService, ledger: Ledger) -> None:
    job_id = (await jobs.submit(ME, REQUEST)).record.job_id
    await asyncio.to_thread(ledger.start, job_id, "a")
    await asyncio.to_thread(ledger.cancel, job_id, "a")
    events = await jobs.watch(ME, job_id, after="0-0", keep_alive_s=5)
    assert [event.data async for event in events if event is not None] == ["queued", "running", "canceled"]
    with pytest.raises(JobNotFound):
        await jobs.watch(OTHER, job_id, after="0-0", keep_alive_s=5)


async def test_images_are_taken_in(jobs: JobService, tmp_path) -> None:
    stored = jobs.store_image(png())
    assert (stored.width, stored.height) == (8, 8)
    for source in (stored.source, base64.b64encode(png()).decode()):
        record = (await jobs.submit(ME, UpscaleRequest(image=source))).record
        assert list(record.params.sources) == [stored.source]
    image_id = "0" * 8 + "-0000" * 3 + "-" + "0" * 12
    ImageStore(tmp_path / "images").write(image_id, png())
    link = await jobs.submit(ME, UpscaleRequest(image=f"https://example.org/images/{image_id}.png"))
    assert list(link.record.params.sources) == [f"image:{image_id}"]


async def test_images_that_cannot_be_used(jobs: JobService) -> None:
    for data in (b"", b"no image", png() + bytes(100_000)):
        with pytest.raises(ImageRefused):
            jobs.store_image(data)
    with pytest.raises(InvalidTicket) as caught:
        await jobs.submit(ME, UpscaleRequest(image="input:" + "0" * 64))
    assert [problem.field for problem in caught.value.problems] == ["image"]


@pytest.mark.parametrize(
    "url",
    ["http://example.org:22/a.png", "http://127.0.0.1/a.png", "http://0x7f.1/", "http://[::ffff:10.0.0.1]/",
     "https://169.254.169.254/latest", "http://[fd00:ec2::254]/", "ftp://example.org/"],
)  # fmt: skip
async def test_urls_that_may_not_be_fetched_are_refused_at_once(jobs: JobService, redis: Redis, url: str) -> None:
    with pytest.raises(InvalidTicket) as caught:
        await jobs.submit(ME, UpscaleRequest(image=url))
    assert [problem.field for problem in caught.value.problems] == ["image"]
    assert redis.llen("rq:queue:photogram") == 0


async def test_credentials_of_urls_are_for_workers_only(jobs: JobService) -> None:
    url = "https://user:secret@example.org/a.png"
    record = (await jobs.submit(ME, UpscaleRequest(image=url), echo={"config": {"image": [url]}})).record
    assert list(record.params.sources) == [url]
    assert record.requested == {"config": {"image": ["https://example.org/a.png"]}}
    record = (await jobs.submit(ME, UpscaleRequest(image=url))).record
    assert "secret" not in str(record.requested) and "example.org/a.png" in str(record.requested)


def test_no_web_framework_is_imported() -> None:
    check = "import sys, service.jobs.service; print({'fastapi', 'starlette', 'torch'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
