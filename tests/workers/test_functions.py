"""Job kinds that are plain functions, from the queue to the record, in a real worker process of their queue."""

from __future__ import annotations

import signal
import threading
import time
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from models.errors import PhotogramError
from models.jobs import kinds
from models.jobs.kinds import DIFFUSION_QUEUE, find_kind, register
from models.jobs.records import JobStatus
from models.jobs.results import JobOutput
from service.backbone.inputs import InputStore
from service.backbone.store import FileStore
from tests.workers.toys import KINDS, QUEUE, ToyRequest
from workers.functions import FunctionCall, FunctionExecutor, JobCanceled, load_functions


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toys are registered in this process too, for one test: other tests look at all registered kinds."""
    monkeypatch.setattr(kinds, "_KINDS", dict(kinds._KINDS))
    for kind in KINDS:
        register(kind)


@pytest.fixture
def toys(world, registered: None):
    """A world whose workers serve the toys' queue."""
    world.set_environment(PHOTOGRAM_JOB_KINDS="tests.workers.toy_kinds")
    world.queue = QUEUE
    return world


def test_a_document_reaches_the_record_without_torch(toys) -> None:
    white = BytesIO()
    Image.new("RGB", (8, 8), "white").save(white, "PNG")
    source = f"input:{InputStore(toys.data / 'inputs').add(white.getvalue())}"
    job = toys.submit_request(ToyRequest(kind="describe", text="four", image=source))
    assert toys.redis.lrange("rq:queue:toys", 0, -1) == [job.encode()] and not toys.redis.exists("rq:queue:photogram")
    toys.start_worker()
    (record,) = toys.until_over(job)
    assert record.status is JobStatus.SUCCEEDED, record.error_message
    assert record.document == {"letters": 4, "brightness": [255.0], "heavy": []}
    assert (record.images, record.files) == ((), ()) and record.step == record.steps
    assert set(record.timings) == {"prepare_s", "run_s", "finish_s"}
    assert not toys.redis.exists("photogram:workers"), "a worker of another queue does not count for diffusion"
    toys.until(lambda: not toys.redis.exists("rq:wip:toys"))


def test_files_are_stored_under_random_ids(toys) -> None:
    job = toys.submit_request(ToyRequest(kind="write_files", text="abc"))
    toys.start_worker()
    (record,) = toys.until_over(job)
    first, second = record.files
    assert (first.name, first.media_type, first.size_bytes) == ("a.txt", "text/plain", 3)
    assert (second.name, second.size_bytes) == ("b.bin", 6)
    store = FileStore(toys.data / "files")
    paths = [store.path(file.file_id) for file in record.files]
    assert [path is not None and path.read_bytes() for path in paths] == [b"abc", b"abcabc"]
    assert record.document is None


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("refuse", "drawing_failed", "the toy refuses"),
        ("divide", "internal_error", "worker's log"),
        ("large", "internal_error", "1048578 bytes, and at most 1048576"),
        ("not json", "internal_error", "not valid JSON"),
    ],
)
def test_a_function_that_fails_ends_its_job_only(toys, text: str, code: str, words: str) -> None:
    failing = toys.submit_request(ToyRequest(kind="fail", text=text))
    good = toys.submit_request(ToyRequest(kind="describe", text="x"))
    toys.start_worker()
    failed, succeeded = toys.until_over(failing, good)
    assert (failed.status, failed.error_code) == (JobStatus.FAILED, code)
    assert words in (failed.error_message or "")
    assert succeeded.status is JobStatus.SUCCEEDED
    assert [path for path in (toys.data / "files").glob("*/*")] == []


def test_a_running_function_is_canceled(toys) -> None:
    job = toys.submit_request(ToyRequest(kind="wait", text="x"))
    toys.start_worker()
    toys.until_step(job, 3)
    toys.cancel(job)
    (record,) = toys.until_over(job)
    assert record.status is JobStatus.CANCELED
    toys.until(lambda: not toys.redis.exists("rq:wip:toys"))


def test_a_function_that_exceeds_the_deadline_fails(toys) -> None:
    toys.set_environment(PHOTOGRAM_JOB_TIMEOUT_S="1")
    job = toys.submit_request(ToyRequest(kind="wait", text="x"))
    toys.start_worker()
    (record,) = toys.until_over(job)
    assert (record.status, record.error_code) == (JobStatus.FAILED, "deadline_exceeded")


def test_a_job_whose_process_is_killed_is_redelivered(toys, tmp_path: Path) -> None:
    killed = toys.start_worker()
    job = toys.submit_request(ToyRequest(kind="die_once", text=str(tmp_path / "died")))
    toys.until(lambda: killed.poll() is not None)
    toys.kill(killed)
    toys.start_worker()
    (record,) = toys.until_over(job)
    assert (record.status, record.document) == (JobStatus.SUCCEEDED, "alive")
    assert toys.redis.hget(f"photogram:job:{job}", "crashes") == b"1"


def test_a_worker_that_is_asked_to_stop_requeues_a_running_function(toys) -> None:
    job = toys.submit_request(ToyRequest(kind="wait", text="x"))
    worker = toys.start_worker()
    toys.until_step(job, 1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert toys.record(job).status is JobStatus.QUEUED
    assert toys.redis.lrange("rq:queue:toys", 0, -1) == [job.encode()]


def test_a_worker_of_the_diffusion_queue_runs_plans_and_functions(toys) -> None:
    toys.queue = DIFFUSION_QUEUE
    drawn, described = toys.submit(), toys.submit_request(ToyRequest(kind="describe_here", text="abc"))
    toys.start_worker()
    image, document = toys.until_over(drawn, described)
    assert (image.status, len(image.images)) == (JobStatus.SUCCEEDED, 1)
    assert document.document["letters"] == 3 and "torch" in document.document["heavy"]


def test_a_function_that_cannot_be_imported_is_named(registered: None) -> None:
    class Missing:
        name, function = "toy", "tests.workers.toys:nothing"

    with pytest.raises(PhotogramError, match=r"tests\.workers\.toys:nothing"):
        load_functions([Missing])
    assert list(load_functions([find_kind("describe"), find_kind("txt2img")])) == ["describe"]


def test_reports_between_two_polls_wake_the_loop_once() -> None:
    reported, wakes = threading.Event(), []

    def chatty(call: FunctionCall) -> JobOutput:
        for step in range(100):
            call.report(step, 100)
        reported.set()
        while not call.is_canceled():
            time.sleep(0.01)
        raise JobCanceled

    record = SimpleNamespace(drawn_params=None)
    kind = SimpleNamespace(name="chatty", function="x:chatty")
    job = SimpleNamespace(execution_id="e", job_id="j", kind=kind, record=record, catalog=None, images={})
    executor = FunctionExecutor({"chatty": chatty}, wake=lambda: wakes.append(1), threads=1)
    executor.start(job)
    assert reported.wait(30)
    assert len(wakes) == 1
    assert len(executor.poll()) == 100 and executor.longest_call_s > 0
    executor.stop("e")
    while executor.longest_call_s > 0:
        time.sleep(0.01)
    assert executor.poll() == [] and len(wakes) == 1
