"""Results that cannot be stored: the job is kept, then requeued, finishes once there is space, and has not crashed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image as PilImage
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from models.errors import DrawingFailed, StorageUnavailable
from models.jobs.params import UNMARKED
from models.jobs.records import JobStatus
from models.jobs.results import FileOutput, JobOutput
from service.backbone.objects.folder import FileObject
from service.backbone.store import FileStore, ImageStore
from tests.disks import Disk, small_disk
from tests.workers.parts import Parts, marking, submit
from workers import finish as finishing
from workers import maintenance
from workers.executors import Finished
from workers.finish import Finish
from workers.held_jobs import HeldJob
from workers.outputs import StoredOutput
from workers.rq_adapter import EXECUTION_TTL_S

RED, BLUE = (PilImage.new("RGB", (8, 8), color) for color in ("red", "blue"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """The disk of the images."""
    with small_disk(tmp_path / "images") as made:
        yield made


class Stage:
    """The last stage of a worker, and one job that waits for its end."""

    def __init__(self, redis: Redis, data: Path) -> None:
        self.parts = Parts(redis)
        self.images, self.files = ImageStore(data / "images"), FileStore(data / "files")
        self.marking = marking(data)
        self.finish = Finish(self.parts.consumer, self.images, self.files, self.marking, job_timeout_s=600)
        self.job_id = submit(redis)
        self.job = self.take()

    def take(self) -> HeldJob:
        job = self.parts.consumer.take(timeout_s=1)
        assert job is not None and job.become_ready() and job.start_running() and job.start_ending()
        return job

    def succeed(self, *images: PilImage.Image, files: tuple[FileOutput, ...] = ()) -> None:
        self.finish.succeed(self.job, Finished(self.job.execution_id, JobOutput(images=images, files=files), {}))

    def until(self, condition: Any) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            self.finish.try_again()
            time.sleep(0.01)

    @property
    def status(self) -> JobStatus:
        record = self.parts.ledger.read(self.job_id)
        assert record is not None
        return record.status

    @property
    def crashes(self) -> bytes | None:
        return self.parts.redis.hget(f"photogram:job:{self.job_id}", "crashes")


@pytest.fixture
def stage(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(finishing, "PAUSES_S", (0.05,))
    return Stage(redis, tmp_path)


def stored(data: Path) -> list[Path]:
    return [path for path in data.glob("*/*/*") if path.is_file()]


def test_a_result_waits_for_space(stage: Stage, disk: Disk, tmp_path: Path) -> None:
    disk.fill()
    stage.succeed(RED, BLUE)
    stage.until(lambda: stage.finish.is_keeping and stage.finish._kept[0].attempts > 2)
    assert stage.status is JobStatus.RUNNING and len(stage.parts.held) == 1
    assert stage.job.held_s == 0.0, "neither its deadline nor the watch for hanging devices may end it"
    disk.free()
    stage.until(lambda: stage.status is JobStatus.SUCCEEDED)
    stage.until(lambda: not stage.finish.is_keeping)
    record = stage.parts.ledger.read(stage.job_id)
    assert record is not None and len(record.images) == 2 and record.images[0].image_id == record.image_id
    assert sorted(path.stem for path in stored(tmp_path)) == sorted(image.image_id for image in record.images)
    assert len(stage.parts.held) == 0 and stage.crashes is None


def test_a_result_that_waited_for_too_long_is_requeued_without_a_crash(
    stage: Stage, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "KEEP_S", 0.2)
    disk.fill()
    stage.succeed(RED, files=(FileOutput("a", "text/plain", b"x"),))
    stage.until(lambda: stage.status is JobStatus.QUEUED)
    stage.until(lambda: not stage.finish.is_keeping)
    assert stage.parts.redis.lrange("rq:queue:photogram", 0, -1) == [stage.job_id.encode()]
    assert stage.crashes is None and len(stage.parts.held) == 0
    disk.free()
    assert stored(tmp_path) == []
    stage.job = stage.take()
    assert stage.job.crashes == 0
    stage.succeed(RED)
    stage.until(lambda: stage.status is JobStatus.SUCCEEDED)


@pytest.fixture
def refuse(redis: Redis) -> Iterator[Any]:
    yield lambda: redis.config_set("maxmemory", 1)
    redis.config_set("maxmemory", 0)


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel"])
def test_an_end_waits_until_redis_accepts_writes(stage: Stage, redis: Redis, refuse: Any, end: str) -> None:
    refuse()
    if end == "succeed":
        stage.succeed(RED)
    elif end == "fail":
        stage.finish.fail(stage.job, DrawingFailed("black"))
    else:
        stage.finish.cancel(stage.job)
    stage.until(lambda: stage.finish.is_keeping and stage.finish._kept[0].attempts > 2)
    assert stage.status is JobStatus.RUNNING and len(stage.parts.held) == 1
    redis.config_set("maxmemory", 0)
    stage.until(lambda: stage.status.is_terminal)
    expected = {"succeed": JobStatus.SUCCEEDED, "fail": JobStatus.FAILED, "cancel": JobStatus.CANCELED}
    assert stage.status is expected[end] and stage.crashes is None
    stage.until(lambda: not stage.finish.is_keeping)


def test_an_end_that_was_written_is_not_written_again_if_rq_refuses(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_settling(_: object) -> None:
        raise ResponseError("MISCONF Errors writing to the AOF file")

    monkeypatch.setattr(stage.parts.adapter, "settle", refuse_settling)
    stage.succeed(RED, BLUE)
    stage.until(lambda: stage.status is JobStatus.SUCCEEDED and len(stage.parts.held) == 0)
    stage.finish.close()
    assert not stage.finish.is_keeping and len(stored(tmp_path)) == 2, "the record names both images"


def test_results_stay_if_nobody_knows_whether_the_record_names_them(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*arguments: Any, **more: Any) -> bool:
        stage_succeed(*arguments, **more)
        raise RedisConnectionError("the answer was lost")

    stage_succeed = stage.parts.ledger.succeed
    monkeypatch.setattr(stage.parts.ledger, "succeed", break_off)
    stage.succeed(RED, BLUE)
    stage.until(lambda: len(stage.parts.held) == 0)
    stage.finish.close()
    assert stage.status is JobStatus.SUCCEEDED and len(stored(tmp_path)) == 2


def test_a_worker_that_stops_keeps_nothing_of_a_result_it_could_not_end(
    stage: Stage, tmp_path: Path, refuse: Any
) -> None:
    refuse()
    stage.succeed(RED, BLUE)
    stage.until(lambda: stage.finish.is_keeping)
    stage.finish.close()
    assert len(stored(tmp_path)) == 1, "only the image under the ticket's own id stays"


def opened(image: FileObject | None) -> PilImage.Image:
    assert image is not None
    return PilImage.open(BytesIO(image.read())).convert("RGB")


def test_an_execution_never_changes_what_another_one_stored(stage: Stage, tmp_path: Path) -> None:
    unsigned = replace(stage.job.record.params, provenance=UNMARKED)  # each signature gives other bytes
    record = replace(stage.job.record, params=unsigned)
    first, second, same = (
        StoredOutput(JobOutput(images=images), record, stage.images, stage.files, stage.marking)
        for images in ((RED, RED), (BLUE, BLUE), (RED,))
    )
    for output in (first, second, same):
        output.store()
    ids = [[image.image_id for image in output.images] for output in (first, second, same)]
    assert ids[0][0] == record.image_id not in ids[1] and ids[2] == [record.image_id], "equal bytes are one image"
    assert len({*ids[0], *ids[1]}) == 4
    assert [opened(stage.images.find(each)).getpixel((0, 0)) for each in ids[0] + ids[1]] == [
        (255, 0, 0), (255, 0, 0), (0, 0, 255), (0, 0, 255),
    ]  # fmt: skip
    second.discard()
    assert [stage.images.find(each) is not None for each in ids[0] + ids[1]] == [True, True, False, False]


def test_what_is_stored_already_is_not_stored_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    output = StoredOutput(
        JobOutput(images=(RED, BLUE, RED)), stage.job.record, stage.images, stage.files, stage.marking
    )
    add, failures = stage.images.add, iter([False, True])

    def add_or_fail(data: bytes) -> str:
        if next(failures, False):
            raise StorageUnavailable("full")
        return add(data)

    monkeypatch.setattr(stage.images, "add", add_or_fail)
    with pytest.raises(StorageUnavailable):
        output.store()
    kept = list(output.images)
    output.store()
    assert len(kept) == 2 and output.images[:2] == kept and len(output.images) == 3


def test_after_a_gap_other_workers_first_send_their_heartbeats(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "GAP_S", 0.3)
    worker, calls = Parts(redis), []
    monkeypatch.setattr(worker.adapter, "run_maintenance_tasks", lambda: calls.append("maintained"))
    worker.maintenance.beat()
    assert calls == ["maintained"]
    time.sleep(0.4)
    worker.maintenance.beat()
    assert calls == ["maintained"]
    time.sleep(0.2)
    worker.maintenance.beat()
    assert calls == ["maintained"]
    time.sleep(0.2)
    worker.maintenance.beat()
    assert calls == ["maintained"] * 2


def test_a_worker_takes_nothing_that_it_could_not_store(redis: Redis) -> None:
    parts, can_store = Parts(redis), SimpleNamespace(value=False)
    prepare = parts.prepare(SimpleNamespace(load=lambda _: {}))
    prepare._can_store = lambda: can_store.value
    job_id = submit(redis)
    prepare.start()
    time.sleep(0.5)
    assert redis.lrange("rq:queue:photogram", 0, -1) == [job_id.encode()]
    can_store.value = True
    assert prepare.ready.get(timeout=10).job_id == job_id
    prepare.stop()


def test_a_full_disk_of_images_costs_a_real_worker_no_job(world, disk: Disk) -> None:
    long = world.submit(num_inference_steps=300, sampler="DDIM")
    worker = world.start_worker()
    world.until_step(long, 1)
    disk.fill()
    world.until(lambda: world.record(long).step == world.record(long).steps, 60)
    later = [world.submit(f"job {number}") for number in range(3)]
    time.sleep(EXECUTION_TTL_S + 2)
    assert world.record(long).status is JobStatus.RUNNING
    assert {world.record(job).status for job in later} <= {JobStatus.QUEUED, JobStatus.RUNNING}
    disk.free()
    records = world.until_over(long, *later)
    assert [record.status for record in records] == [JobStatus.SUCCEEDED] * 4
    assert worker.poll() is None and not world.redis.hget(f"photogram:job:{long}", "crashes")
    assert [path for path in disk.folder.rglob("*.partial")] == []


def test_a_redis_without_memory_costs_a_real_worker_no_job(world, refuse: Any) -> None:
    job = world.submit(num_inference_steps=200, sampler="DDIM")
    worker = world.start_worker()
    world.until_step(job, 1)
    execution = world.redis.hget(f"photogram:job:{job}", "execution_id")
    refuse()
    time.sleep(EXECUTION_TTL_S + 4)
    assert world.record(job).status is JobStatus.RUNNING
    world.redis.config_set("maxmemory", 0)
    (record,) = world.until_over(job)
    assert record.status is JobStatus.SUCCEEDED, record.error_message
    assert world.redis.hget(f"photogram:job:{job}", "execution_id") == execution, "it was drawn once"
    assert worker.poll() is None and not world.redis.hget(f"photogram:job:{job}", "crashes")
