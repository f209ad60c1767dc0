"""The first stage on a real queue: images are loaded on the way, and a slow or broken one harms its own job only."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from redis import Redis

from models.catalog.catalog import Catalog
from models.jobs.params import DrawRequest, JobRequest, Mask, UpscaleRequest
from models.jobs.records import JobRecord, JobStatus, new_job_id
from models.jobs.tickets import open_ticket
from models.language.presets import GENERIC
from models.language.rewriting import Rewriter
from service.backbone import scripts
from service.backbone.inputs import InputStore
from service.backbone.ledger import Ledger
from service.backbone.queue import Intake
from service.backbone.records import events_key, record_key
from service.backbone.store import ImageStore
from workers.batch_worker import BatchWorker
from workers.fetch import FetchLimits
from workers.finish import Finish
from workers.images import ImageLoader
from workers.prepare import LOADERS, PREFETCH, Prepare
from workers.rewriting import Rewriting
from workers.slots import Slot
from workers.warm import Standing

CATALOG = Catalog({})
DEADLINE_S = 1.0


def encoded(colour: str, mode: str = "RGB") -> bytes:
    buffer = BytesIO()
    Image.new(mode, (8, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


def unable() -> Rewriting:
    """Rewriting without an engine."""
    return Rewriting(lambda: nullcontext(Rewriter(None, GENERIC)))


@dataclass
class Stage:
    """A worker's first and last stage, and what they write to."""

    redis: Redis
    worker: BatchWorker
    finish: Finish
    loader: ImageLoader
    prepare: Prepare
    inputs: InputStore
    images: ImageStore

    def submit(self, request: JobRequest | None = None) -> str:
        ticket = open_ticket(request or DrawRequest(prompt="x"), CATALOG, job_id=new_job_id(), owner="me")
        Intake(self.redis, 1000).accept(ticket, {})
        return ticket.job_id

    def img2img(self, source: str) -> str:
        return self.submit(DrawRequest(kind="img2img", prompt="x", image=source))

    def record(self, job_id: str) -> JobRecord:
        record = self.worker.ledger.read(job_id)
        assert record is not None
        return record

    def next_ready(self) -> Slot:
        return self.prepare.ready.get(timeout=10)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def stage(redis: Redis, tmp_path: Path) -> Iterator[Stage]:
    worker = BatchWorker(redis, Ledger(redis, 600), "one", lambda: CATALOG, lambda: Standing((), True))
    inputs, images = InputStore(tmp_path / "inputs"), ImageStore(tmp_path / "images")
    loader = ImageLoader(inputs, images, FetchLimits(max_bytes=100_000, deadline_s=DEADLINE_S, allow_private=True))
    finish = Finish(worker, images)
    prepare = Prepare(worker, finish, loader, unable(), waiting=lambda: 0)
    prepare.start()
    yield Stage(redis, worker, finish, loader, prepare, inputs, images)
    prepare.stop()
    finish.close()


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
    slot = stage.next_ready()
    assert {source: image.mode for source, image in slot.images.items()} == {red: "RGB", mask: "L"}
    assert slot.images[red].getpixel((0, 0)) == (255, 0, 0) and slot.spec is not None and slot.catalog is CATALOG
    stage.worker.cancel(slot)
    stage.submit(DrawRequest(kind="inpaint", prompt="x", image=clear, mask=Mask(image=clear)))
    slot = stage.next_ready()
    assert slot.images[clear].getpixel((0, 0)) == (255, 255, 255)
    stage.worker.cancel(slot)
    stage.submit(UpscaleRequest(image=f"image:{drawn}"))
    slot = stage.next_ready()
    assert slot.spec is None and list(slot.images) == [f"image:{drawn}"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (f"input:{'0' * 64}", "not there any more"),
        ("image:0b7c2f0e-6f0e-4b43-9a55-3f6a3e1f7a11", "not there any more"),
        ("http://127.0.0.1:1/x.png", "cannot be reached"),
        ("http://no-such-host.invalid/x.png", "not known"),
    ],
)
def test_an_image_that_cannot_be_had_fails_its_job_only(stage: Stage, source: str, words: str) -> None:
    broken, good = stage.img2img(source), stage.submit()
    assert stage.next_ready().job_id == good
    stage.until(lambda: stage.record(broken).status.is_terminal)
    record = stage.record(broken)
    assert (record.status, record.error_code) == (JobStatus.FAILED, "input_unavailable")
    assert words in (record.error_message or "")
    stage.until(lambda: [slot.job_id for slot in stage.worker.slots] == [good])


def test_bytes_that_are_no_image_fail_their_job(stage: Stage) -> None:
    job = stage.img2img(f"input:{stage.inputs.add(encoded('red')[:50])}")
    stage.until(lambda: stage.record(job).status.is_terminal)
    assert stage.record(job).error_code == "input_unavailable"


def test_slow_images_hold_up_nobody_else(stage: Stage, slow_url: str) -> None:
    slow = [stage.img2img(slow_url) for _ in range(LOADERS + 2)]
    quick = [stage.submit() for _ in range(2 + PREFETCH)]
    began_at = time.monotonic()
    assert [stage.next_ready().job_id for _ in quick] == quick
    assert time.monotonic() - began_at < DEADLINE_S
    stage.until(lambda: all(stage.record(job).status.is_terminal for job in slow))
    assert {stage.record(job).error_code for job in slow} == {"input_unavailable"}
    assert "within 1 s" in (stage.record(slow[0]).error_message or "")


def test_a_job_is_canceled_while_its_image_is_fetched(stage: Stage, slow_url: str) -> None:
    job = stage.img2img(slow_url)
    stage.until(lambda: [slot.job_id for slot in stage.worker.slots] == [job])
    stage.redis.register_script(scripts.CANCEL)(keys=[record_key(job), events_key(job)], args=[repr(time.time()), 600])
    (slot,) = stage.worker.slots
    stage.worker.cancel(slot)  # as the drawing thread does, which is told of it
    assert stage.record(job).status is JobStatus.CANCELED
    good = stage.submit()
    assert stage.next_ready().job_id == good
    time.sleep(DEADLINE_S + 0.1)
    assert stage.record(job).status is JobStatus.CANCELED and stage.prepare.ready.empty()


def test_a_worker_that_stops_hands_back_what_it_is_loading(stage: Stage, slow_url: str) -> None:
    job = stage.img2img(slow_url)
    stage.until(lambda: [slot.job_id for slot in stage.worker.slots] == [job])
    stage.prepare.stop()
    (slot,) = stage.worker.slots
    stage.worker.give_back(slot)
    time.sleep(DEADLINE_S + 0.1)
    assert stage.record(job).status is JobStatus.QUEUED


def test_a_suspect_has_its_images_loaded_with_no_neighbour(stage: Stage) -> None:
    stage.prepare.stop()
    job = stage.img2img(f"input:{stage.inputs.add(encoded('red'))}")
    for execution in ("one", "two"):
        stage.worker.ledger.start(job, execution)
    neighbour = stage.submit()
    again = Prepare(stage.worker, stage.finish, stage.loader, unable(), waiting=lambda: 0)
    again.start()
    slot = again.ready.get(timeout=10)
    assert slot.job_id == job and slot.is_suspect and list(slot.images)
    time.sleep(0.3)
    assert again.ready.empty()
    stage.worker.cancel(slot)
    assert again.ready.get(timeout=10).job_id == neighbour
    again.stop()
