"""The first stage on a real queue: images are loaded on the way, and a slow or broken one harms its own job only."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from redis import Redis

from models.jobs.params import DrawRequest, JobRequest, Mask, UpscaleRequest
from models.jobs.records import JobRecord, JobStatus, new_job_id
from models.media.pixel_budget import PixelBudget
from service.backbone import scripts
from service.backbone.inputs import InputStore
from service.backbone.keyspace import events_key, record_key
from service.backbone.store import ImageStore
from tests.workers.parts import CATALOG, Parts, submit
from workers.executors import PREFETCH
from workers.fetch import FetchLimits
from workers.held_jobs import HeldJob, Phase
from workers.images import ImageLoader
from workers.prepare import LOADERS, Prepare

DEADLINE_S = 1.0
LIMIT_PX = 1000


def encoded(colour: str, mode: str = "RGB") -> bytes:
    buffer = BytesIO()
    Image.new(mode, (8, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Stage:
    """A worker's first stage, and what it writes to."""

    worker: Parts
    loader: ImageLoader
    prepare: Prepare
    inputs: InputStore
    images: ImageStore
    budget: PixelBudget

    def submit(self, request: JobRequest | None = None) -> str:
        return submit(self.worker.redis, request)

    def img2img(self, source: str) -> str:
        return self.submit(DrawRequest(kind="img2img", prompt="x", image=source))

    def record(self, job_id: str) -> JobRecord:
        record = self.worker.ledger.read(job_id)
        assert record is not None
        return record

    def held_ids(self) -> list[str]:
        return [job.job_id for job in self.worker.held.all()]

    def next_ready(self) -> HeldJob:
        job = self.prepare.ready.get(timeout=10)
        assert job is not None and job.phase is Phase.READY and job.failure is None
        return job

    def end_next_failed(self) -> None:
        """End the next job, which could not be prepared, as the loop does."""
        job = self.prepare.ready.get(timeout=10)
        assert job is not None and job.failure is not None and job.start_ending()
        self.worker.consumer.fail(job, job.failure)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def stage(redis: Redis, tmp_path: Path) -> Iterator[Stage]:
    worker = Parts(redis)
    inputs, images = InputStore(tmp_path / "inputs"), ImageStore(tmp_path / "images")
    limits, budget = FetchLimits(max_bytes=100_000, deadline_s=DEADLINE_S, allow_private=True), PixelBudget(LIMIT_PX)
    loader = ImageLoader(inputs, images, limits, budget)
    prepare = worker.prepare(loader)
    prepare.start()
    yield Stage(worker, loader, prepare, inputs, images, budget)
    prepare.stop()


@pytest.fixture
def slow_url() -> Iterator[str]:
    """A server that accepts and then says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/slow.png"


def test_every_image_of_a_job_is_there_when_it_is_ready(stage: Stage) -> None:
    red, mask = (f"input:{stage.inputs.add(encoded(colour))}" for colour in ("red", "white"))
    drawn = new_job_id()
    stage.images.write(drawn, encoded("blue"))
    clear = f"input:{stage.inputs.add(encoded('#ffffff00', 'RGBA'))}"
    request = DrawRequest(kind="inpaint", prompt="x", image=red, mask=Mask(image=mask))
    stage.submit(request)
    job = stage.next_ready()
    assert {source: image.mode for source, image in job.images.items()} == {red: "RGB", mask: "L"}
    assert job.images[red].getpixel((0, 0)) == (255, 0, 0) and job.spec is not None and job.catalog is CATALOG
    stage.worker.cancel(job)
    stage.submit(DrawRequest(kind="inpaint", prompt="x", image=clear, mask=Mask(image=clear)))
    job = stage.next_ready()
    assert job.images[clear].getpixel((0, 0)) == (255, 255, 255)
    stage.worker.cancel(job)
    stage.submit(UpscaleRequest(image=f"image:{drawn}"))
    job = stage.next_ready()
    assert job.spec is None and list(job.images) == [f"image:{drawn}"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (f"input:{'0' * 64}", "not there any more"),
        ("image:0b7c2f0e-6f0e-4b43-9a55-3f6a3e1f7a11", "not there any more"),
        ("http://127.0.0.1:1/x.png", "cannot be reached"),
        ("http://no-such-host.invalid/x.png", "cannot be reached"),
    ],
)
def test_an_image_that_cannot_be_had_fails_its_job_only(stage: Stage, source: str, words: str) -> None:
    broken = stage.img2img(source)
    stage.end_next_failed()
    good = stage.submit()
    assert stage.next_ready().job_id == good
    record = stage.record(broken)
    assert (record.status, record.error_code) == (JobStatus.FAILED, "input_unavailable")
    assert record.error_field == "image" and source not in (record.error_message or "")
    assert words in (record.error_message or "")
    assert stage.held_ids() == [good]


def test_bytes_that_are_no_image_fail_their_job(stage: Stage) -> None:
    job = stage.img2img(f"input:{stage.inputs.add(encoded('red')[:50])}")
    stage.end_next_failed()
    assert stage.record(job).error_code == "input_unavailable"


def test_a_mask_that_is_no_image_is_blamed_itself(stage: Stage) -> None:
    good, bad = (f"input:{stage.inputs.add(data)}" for data in (encoded("red"), b"nothing"))
    job = stage.submit(DrawRequest(kind="inpaint", prompt="x", image=good, mask=Mask(image=bad)))
    stage.end_next_failed()
    record = stage.record(job)
    assert record.error_field == "mask.image" and "input:" not in (record.error_message or "")


def test_slow_images_hold_up_nobody_else(stage: Stage, slow_url: str) -> None:
    slow = [stage.img2img(slow_url) for _ in range(LOADERS + 2)]
    quick = [stage.submit() for _ in range(2 + PREFETCH)]
    assert [stage.next_ready().job_id for _ in quick] == quick  # before any of the slow ones, which fail
    for _ in slow:
        stage.end_next_failed()
    assert {stage.record(job).error_code for job in slow} == {"input_unavailable"}
    assert "within 1 s" in (stage.record(slow[0]).error_message or "")


def test_a_job_is_canceled_while_its_image_is_fetched(stage: Stage, slow_url: str) -> None:
    job = stage.img2img(slow_url)
    stage.until(lambda: stage.held_ids() == [job])
    cancel = stage.worker.redis.register_script(scripts.cancel())
    cancel(keys=[record_key(job), events_key(job)], args=[repr(time.time()), 600])
    (held,) = stage.worker.held.all()
    stage.worker.cancel(held)
    assert stage.record(job).status is JobStatus.CANCELED
    good = stage.submit()
    assert stage.next_ready().job_id == good
    time.sleep(DEADLINE_S + 0.1)
    assert stage.record(job).status is JobStatus.CANCELED and stage.prepare.ready.empty()


def test_a_worker_that_stops_requeues_a_job_whose_image_it_is_loading(stage: Stage, slow_url: str) -> None:
    job = stage.img2img(slow_url)
    stage.until(lambda: stage.held_ids() == [job])
    stage.prepare.stop()
    (held,) = stage.worker.held.all()
    assert held.start_ending()
    stage.worker.consumer.requeue(held)
    time.sleep(DEADLINE_S + 0.1)
    assert stage.record(job).status is JobStatus.QUEUED


def test_a_suspect_has_its_images_loaded_with_no_neighbour(stage: Stage) -> None:
    stage.prepare.stop()
    job = stage.img2img(f"input:{stage.inputs.add(encoded('red'))}")
    for execution in ("one", "two"):
        stage.worker.ledger.start(job, execution)
    neighbour = stage.submit()
    again = stage.worker.prepare(stage.loader)
    again.start()
    held = again.ready.get(timeout=10)
    assert held is not None and held.job_id == job and held.is_suspect and list(held.images)
    time.sleep(0.3)
    assert again.ready.empty()
    stage.worker.cancel(held)
    following = again.ready.get(timeout=10)
    assert following is not None and following.job_id == neighbour
    again.stop()


def whole(stage: Stage) -> str:
    """Submit a job that needs its images whole."""
    image, mask = (f"input:{stage.inputs.add(encoded(colour))}" for colour in ("red", "white"))
    request = DrawRequest(kind="inpaint", prompt="x", image=image, mask=Mask(image=mask, only_masked=True))
    return stage.submit(request)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_nothing_refers_to_the_images_of_a_job_that_has_ended(stage: Stage) -> None:
    for _ in range(LOADERS):
        whole(stage)
        job = stage.next_ready()
        assert stage.budget.held_px > 0
        stage.worker.cancel(job)
        del job
        stage.until(lambda: stage.budget.held_px == 0)


def test_a_job_gives_its_place_up_when_it_is_canceled_while_it_waits_for_others(stage: Stage) -> None:
    others = stage.budget.acquire(LIMIT_PX)
    assert others is not None
    whole(stage)
    stage.until(lambda: len(stage.worker.held) == 1 and stage.worker.held.all()[0].phase is Phase.PREPARING)
    (waiting,) = stage.worker.held.all()
    stage.worker.cancel(waiting)
    whole(stage)
    others.release()
    assert stage.next_ready().job_id != waiting.job_id


def test_as_many_jobs_are_taken_as_the_executors_have_room_for(redis: Redis, tmp_path: Path) -> None:
    worker, room = Parts(redis), [5]
    limits = FetchLimits(max_bytes=100_000, deadline_s=DEADLINE_S, allow_private=True)
    loader = ImageLoader(InputStore(tmp_path / "inputs"), ImageStore(tmp_path / "images"), limits)
    for _ in range(12):
        submit(redis)
    prepare = worker.prepare(loader, room=lambda: room[0])
    prepare.start()
    deadline = time.monotonic() + 10
    for room[0] in (5, 9, -1):
        expected = max(len(worker.held), room[0])
        while prepare.ready.qsize() < expected:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.1)
        assert prepare.ready.qsize() == expected
    prepare.stop()
