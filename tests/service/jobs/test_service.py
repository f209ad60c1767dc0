"""The job service as a caller inside the server uses it: no request, no response, no web framework."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import string
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image as PilImage
from redis import Redis

from models.errors import InvalidTicket
from models.jobs.params import SEED_MAX, DrawRequest, UpscaleRequest, Variation
from models.jobs.records import JobStatus
from models.jobs.results import Image
from service.backbone.admission import AlreadyUsed, QueueFull
from service.backbone.keyspace import record_key
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings
from service.backbone.store import ImageStore
from service.jobs.caller import Caller
from service.jobs.errors import ImageGone, ImageRefused, JobNotFound
from service.jobs.images import decode_base64, plain_base64, unquoted
from service.jobs.service import JobService
from tests.service.jobs.conftest import MAX_QUEUED
from tests.waiting import waiting_jobs

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


async def test_a_series_of_variations_keeps_the_seed(jobs: JobService) -> None:
    for variation, seeds in ((Variation(seed=5, strength=0.2), (5, 6)), (Variation(strength=0.2), None)):
        records = await jobs.submit_series(ME, replace(REQUEST, variation=variation), 2)
        payloads = [record.params.to_payload() for record in records]
        first = payloads[0]["variation"]["seed"]
        assert {payload["seed"] for payload in payloads} == {1}
        assert tuple(each["variation"]["seed"] for each in payloads) == (seeds or (first, first + 1))


async def test_the_largest_seed_is_followed_by_0(jobs: JobService) -> None:
    records = await jobs.submit_series(ME, DrawRequest(prompt="x", seed=SEED_MAX), 3)
    assert [record.params.to_payload()["seed"] for record in records] == [SEED_MAX, 0, 1]
    varied = replace(REQUEST, variation=Variation(seed=SEED_MAX))
    records = await jobs.submit_series(ME, varied, 2)
    assert [record.params.to_payload()["variation"]["seed"] for record in records] == [SEED_MAX, 0]


async def test_a_series_that_does_not_fit_leaves_nothing_queued(jobs: JobService, redis: Redis) -> None:
    with pytest.raises(QueueFull):
        await jobs.submit_series(ME, REQUEST, MAX_QUEUED + 1)
    assert redis.keys(record_key(36 * "?")) == []


async def test_all_requests_are_queued_or_none(jobs: JobService, redis: Redis) -> None:
    with pytest.raises(InvalidTicket):
        await jobs.submit_all(ME, [REQUEST, DrawRequest(prompt="\0")])
    assert redis.keys("photogram:job:*") == []


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
    assert waiting_jobs(redis) == []


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


def spelled(data: bytes) -> dict[str, str]:
    """Base64 of ``data`` as programs write it."""
    plain = base64.b64encode(data).decode()
    lines = "\r\n".join(plain[start : start + 76] for start in range(0, len(plain), 76))
    return {
        "plain": plain,
        "in lines": lines,
        "without padding": plain.rstrip("="),
        "URL-safe": base64.urlsafe_b64encode(data).decode(),
        "URL-safe without padding": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "with spaces around": f"  {plain}\n",
        "data URL": f"data:image/png;base64,{plain}",
        "data URL in lines": f"data:image/png;base64,\n{lines}\n",
        "data URL with a charset": f"data:image/png;charset=utf-8;base64,{plain}",
        "data URL with a name": f"data:image/png;name=a%20b.png;base64,{plain}",
        "data URL with a comma in a name": f'data:image/png;name="a,b.png";base64,{plain}',
        "data URL of bytes": f"data:application/octet-stream;base64,{plain}",
        "data URL of any image": f"data:image/*;base64,{plain}",
        "data URL without a type": f"data:;base64,{plain}",
        "data URL in capitals": f"DATA:IMAGE/PNG;BASE64,{plain}",
        "data URL with percents": f"data:image/png;base64,{quote(plain, safe='')}",
        "data URL without Base64": f"data:image/png,{quote(data, safe='')}",
    }


@pytest.mark.parametrize("spelling", spelled(b""))
@pytest.mark.parametrize("extra", range(3))
async def test_base64_is_read_however_it_is_spelled(jobs: JobService, spelling: str, extra: int) -> None:
    data = png(16) + bytes(extra)  # so that there are zero, one and two signs of padding
    record = (await jobs.submit(ME, UpscaleRequest(image=spelled(data)[spelling]))).record
    assert record.params.to_payload()["image"] == f"input:{hashlib.sha256(data).hexdigest()}"


@given(data=some.binary(max_size=300), width=some.integers(1, 100))
def test_any_bytes_survive_any_spelling(data: bytes, width: int) -> None:
    text = base64.urlsafe_b64encode(data).decode().rstrip("=")
    lines = "\n".join(text[start : start + width] for start in range(0, len(text), width))
    assert decode_base64(plain_base64(lines.encode())) == data


@given(data=some.binary(max_size=300), safe=some.sampled_from(["", "/", string.ascii_letters]))
def test_pieces_cut_no_percent_sign_from_its_digits(data: bytes, safe: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.jobs.images._PIECE_CHARS", 7)
        assert unquoted(quote(data, safe=safe)) == data


async def test_base64_of_too_many_bytes_is_refused_before_it_is_decoded(
    jobs: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.jobs.images.decode_base64", None)
    with pytest.raises(InvalidTicket, match="at most"):
        await jobs.submit(ME, UpscaleRequest(image="A" * (Settings.max_input_bytes // 3 * 4 + 8)))


@pytest.mark.parametrize("source", ["data:", "data:image/png;base64", "cat.png", "/etc/passwd", "a", "ä", "%%%"])
async def test_what_is_no_image_is_refused_by_its_field(jobs: JobService, source: str) -> None:
    with pytest.raises(InvalidTicket) as caught:
        await jobs.submit(ME, UpscaleRequest(image=source))
    assert [problem.field for problem in caught.value.problems] == ["image"]


@pytest.mark.parametrize("name", ["AVIF", "TIFF", "ICO", "JPEG2000", "PPM", "WEBP", "GIF", "BMP", "JPEG"])
async def test_an_image_of_any_format_is_stored(jobs: JobService, name: str) -> None:
    buffer = BytesIO()
    PilImage.new("RGB", (32, 32)).save(buffer, name)
    stored = jobs.store_image(buffer.getvalue())
    assert (stored.width, stored.height) == (32, 32)
