"""Job kinds that are plain functions, from the queue to the record, in a real worker process of their queue."""

from __future__ import annotations

import logging
import signal
import threading
import time
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
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
from workers.executors import PREFETCH, Failed, Finished, Progressed
from workers.functions import THREADS, FunctionCall, FunctionExecutor, JobCanceled, JobFunction, load_functions


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
    found = [store.find(file.file_id) for file in record.files]
    assert [each is not None and each.read() for each in found] == [b"abc", b"abcabc"]
    assert record.document is None


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("refuse", "drawing_failed", "the toy refuses"),
        ("divide", "internal_error", "worker's log"),
        ("large", "internal_error", "1048578 bytes, and at most 1048576"),
        ("not json", "internal_error", "not valid JSON"),
        ("deep", "internal_error", "at most 100 levels"),
        ("bad name", "internal_error", "control characters"),
        ("keep what is no JSON", "internal_error", "not valid JSON"),
        ("keep a bad name", "internal_error", "control characters"),
        ("half a step", "internal_error", "worker's log"),
        ("exit", "internal_error", "worker's log"),
        ("memory", "out_of_memory", "does not fit"),
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


def test_a_job_that_fails_may_keep_files(toys) -> None:
    job = toys.submit_request(ToyRequest(kind="fail", text="keep"))
    toys.start_worker()
    (record,) = toys.until_over(job)
    assert (record.status, record.error_code, record.document) == (JobStatus.FAILED, "drawing_failed", {"toy": 1})
    (file,) = record.files
    found = FileStore(toys.data / "files").find(file.file_id)
    assert found is not None and (file.name, found.read()) == ("a.txt", b"orphan")


def test_a_running_function_is_canceled(toys, capfd) -> None:
    job = toys.submit_request(ToyRequest(kind="wait", text="x"))
    toys.start_worker()
    toys.until_step(job, 3)
    toys.cancel(job)
    (record,) = toys.until_over(job)
    assert record.status is JobStatus.CANCELED
    toys.until(lambda: not toys.redis.exists("rq:wip:toys"))
    assert f"canceling job {job}" in capfd.readouterr().err


def test_a_function_that_exceeds_the_deadline_fails(toys) -> None:
    toys.set_environment(PHOTOGRAM_JOB_TIMEOUT_S="1")
    job = toys.submit_request(ToyRequest(kind="wait", text="x"))
    toys.start_worker()
    (record,) = toys.until_over(job)
    assert (record.status, record.error_code) == (JobStatus.FAILED, "deadline_exceeded")


def test_the_deadline_counts_from_when_the_function_starts(toys) -> None:
    toys.set_environment(PHOTOGRAM_JOB_TIMEOUT_S="1")
    hanging = [toys.submit_request(ToyRequest(kind="hang", text="x")) for _ in range(THREADS)]
    waiting = toys.submit_request(ToyRequest(kind="describe", text="x"))
    toys.start_worker()
    *hung, described = toys.until_over(*hanging, waiting)
    assert {record.error_code for record in hung} == {"deadline_exceeded"}
    assert described.status is JobStatus.SUCCEEDED, described.error_message


def test_a_job_whose_process_is_killed_is_redelivered(toys, tmp_path: Path) -> None:
    killed = toys.start_worker()
    job = toys.submit_request(ToyRequest(kind="die_once", text=str(tmp_path / "died")))
    toys.until(lambda: killed.poll() is not None)
    toys.kill(killed)
    toys.start_worker()
    (record,) = toys.until_over(job)
    assert (record.status, record.document) == (JobStatus.SUCCEEDED, "alive")
    assert toys.redis.hget(f"photogram:job:{job}", "crashes") == b"1"


def test_a_worker_that_is_asked_to_stop_requeues_a_running_function(toys, capfd) -> None:
    job = toys.submit_request(ToyRequest(kind="wait", text="x"))
    worker = toys.start_worker()
    toys.until_step(job, 1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert toys.record(job).status is JobStatus.QUEUED
    assert toys.redis.lrange("rq:queue:toys", 0, -1) == [job.encode()]
    told = capfd.readouterr().err
    assert f"requeuing job {job}" in told and "cancel" not in told


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


class JobStub(SimpleNamespace):
    clock = "runs"

    def stop_clock(self) -> None:
        self.clock = "stopped"

    def restart_clock(self) -> None:
        self.clock = "runs again"


def job_stub(execution_id: str) -> JobStub:
    kind = SimpleNamespace(name="toy", function="x:toy")
    record = SimpleNamespace(drawn_params=None, owner="me")
    return JobStub(execution_id=execution_id, job_id="j", kind=kind, record=record, catalog=None, images={})


def poll(executor: FunctionExecutor, count: int) -> list[object]:
    """The next ``count`` events."""
    events: list[object] = []
    while len(events) < count:
        events += executor.poll()
        time.sleep(0.005)
    return events


def one_thread(function: JobFunction) -> FunctionExecutor:
    return FunctionExecutor({"toy": function}, wake=lambda: None, threads=1)


def test_waiting_jobs_run_in_their_order_and_their_clocks_stand_still() -> None:
    free = threading.Event()

    def wait_until_free(call: FunctionCall) -> JobOutput:
        assert free.wait(30)
        return JobOutput()

    executor = one_thread(wait_until_free)
    busy = job_stub("busy")
    executor.start(busy)
    while executor.room < PREFETCH:
        time.sleep(0.005)
    jobs = [job_stub(execution_id) for execution_id in ("first", "second", "third")]
    for job in jobs:
        executor.start(job)
    assert {job.clock for job in jobs} == {"stopped"}
    free.set()
    order = [event.execution_id for event in poll(executor, 4)]
    assert order == ["busy", "first", "second", "third"]
    assert {job.clock for job in (busy, *jobs)} == {"runs again"}


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, ZeroDivisionError])
def test_a_function_cannot_end_its_thread(error: type[BaseException]) -> None:
    def end_thread(call: FunctionCall) -> JobOutput:
        raise error

    executor = one_thread(end_thread)
    for execution_id in ("a", "b"):
        executor.start(job_stub(execution_id))
        (failed,) = poll(executor, 1)
        assert isinstance(failed, Failed) and failed.failure.code == "internal_error"


@pytest.mark.parametrize(
    ("reported", "sent"),
    [((1, 2), (1, 2)), ((1.9, 2.5), (1, 2)), ((-1, 4), (0, 4)), ((5, 4), (4, 4)), ((0, 0), (0, 1)), ((3, -1), (1, 1)),
     ((np.int64(1), np.int32(2)), (1, 2)), ((1, 10**5000), (1, 2**53 - 1))],
)  # fmt: skip
def test_reported_steps_become_whole_numbers_in_their_range(reported, sent) -> None:
    def report(call: FunctionCall) -> JobOutput:
        call.report(*reported)
        return JobOutput()

    executor = one_thread(report)
    executor.start(job_stub("e"))
    progressed, finished = poll(executor, 2)
    assert progressed == Progressed("e", *sent) and isinstance(finished, Finished)
    assert {type(progressed.step), type(progressed.steps)} == {int}


@pytest.mark.parametrize(
    ("step", "error"),
    [("1", TypeError), (None, TypeError), (float("nan"), ValueError), (float("inf"), ValueError)],
)
def test_a_step_that_is_no_number_is_an_error_in_the_function(step, error: type[Exception]) -> None:
    def report(call: FunctionCall) -> JobOutput:
        with pytest.raises(error):
            call.report(step, 2)
        with pytest.raises(error):
            call.report(1, step)
        return JobOutput()

    executor = one_thread(report)
    executor.start(job_stub("e"))
    assert isinstance(poll(executor, 1)[0], Finished)


def test_reports_between_two_polls_wake_the_loop_once_and_why_it_stopped_is_not_guessed(caplog) -> None:
    reported, wakes = threading.Event(), []

    def chatty(call: FunctionCall) -> JobOutput:
        for step in range(100):
            call.report(step, 100)
        reported.set()
        while not call.is_canceled():
            time.sleep(0.01)
        raise JobCanceled

    executor = FunctionExecutor({"toy": chatty}, wake=lambda: wakes.append(1), threads=1)
    executor.start(job_stub("e"))
    assert reported.wait(30)
    assert len(wakes) == 1
    assert len(executor.poll()) == 100 and executor.longest_call_s > 0
    caplog.set_level(logging.INFO)
    executor.stop("e")
    while executor.longest_call_s > 0:
        time.sleep(0.01)
    assert executor.poll() == [] and len(wakes) == 1
    assert caplog.messages == ["the function of job j has stopped, because its result is not needed here"]
