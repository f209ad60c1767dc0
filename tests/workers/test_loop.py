"""The job loop: what becomes of the jobs of a worker that has lost its device."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from models.errors import DeviceLost
from models.jobs.records import JobStatus
from tests.workers.parts import Parts, submit
from workers import exit
from workers.executors import Executors
from workers.exit import EXIT_CODE
from workers.held_jobs import HeldJob
from workers.loop import JobLoop


class Exited(BaseException):
    pass


def nothing(_: object) -> None:
    pass


def test_a_worker_that_has_lost_its_device_ends_and_requeues_what_has_not_begun(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def leave(code: int) -> None:
        calls.append(f"exit {code}")
        raise Exited

    def lose_device() -> None:
        raise DeviceLost("an illegal memory access was encountered")

    monkeypatch.setattr(exit, "os", SimpleNamespace(_exit=leave))
    job_ids = [submit(redis) for _ in range(3)]
    parts = Parts(redis)
    jobs = [parts.consumer.take(timeout_s=1) for _ in job_ids]
    assert jobs[0].become_ready() and jobs[0].start_running()
    prepare: Any = SimpleNamespace(
        ready=queue.SimpleQueue(), start=lambda: None, stop_taking=lambda timeout_s: calls.append("stop taking")
    )
    engine: Any = SimpleNamespace(poll=lose_device, is_idle=False, room=2, longest_call_s=0.0, measure_default=nothing)
    finish: Any = SimpleNamespace(close=lambda: calls.append("store finished images"), try_again=lambda: None)
    loop = JobLoop(parts.consumer, prepare, Executors(engine, None), finish, job_timeout_s=600)
    with pytest.raises(Exited):
        loop.run()
    assert calls == ["store finished images", "stop taking", f"exit {EXIT_CODE}"]
    assert redis.lrange("rq:queue:photogram", 0, -1) == [job_id.encode() for job_id in job_ids[1:]]
    assert [parts.ledger.read(job_id).status for job_id in job_ids] == [
        JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.QUEUED,
    ]  # fmt: skip


def test_a_job_that_waits_for_a_download_is_requeued_at_once_when_the_worker_stops(redis: Redis) -> None:
    job_id, parts, polls = submit(redis), Parts(redis), list[str]()
    job = parts.consumer.take(timeout_s=1)
    assert job is not None and job.become_ready() and job.start_running()
    job.stop_clock()
    prepare: Any = SimpleNamespace(ready=queue.SimpleQueue(), start=lambda: None, stop=lambda: None)
    engine: Any = SimpleNamespace(
        poll=lambda: polls.append("poll") or [], is_idle=False, room=2, longest_call_s=0.0,
        save=nothing, stop=nothing, measure_default=nothing,
    )  # fmt: skip
    finish: Any = SimpleNamespace(close=lambda: None, try_again=lambda: None)
    loop = JobLoop(parts.consumer, prepare, Executors(engine, None), finish, job_timeout_s=600)
    loop.request_stop()
    loop.run()
    record = parts.ledger.read(job_id)
    assert record is not None and record.status is JobStatus.QUEUED and not polls


def test_the_model_is_measured_until_the_first_job_is_ready(redis: Redis) -> None:
    submit(redis)
    parts = Parts(redis)
    prepare: Any = SimpleNamespace(ready=queue.SimpleQueue(), stop=lambda: None)
    begin, calls = threading.Event(), list[str]()

    def take() -> None:
        begin.wait(20)
        job = parts.consumer.take(timeout_s=1)
        assert job is not None and job.become_ready()
        prepare.ready.put(job)

    taker = threading.Thread(target=take)
    prepare.start = taker.start

    def measure(is_over: Callable[[], bool]) -> None:
        calls.append("over before a job" if is_over() else "measuring")
        begin.set()
        taker.join()
        calls.append("over" if is_over() else "goes on beside a job")

    def start(job: HeldJob) -> None:
        calls.append("started")
        loop.request_stop()

    engine: Any = SimpleNamespace(
        poll=list, is_idle=True, room=2, longest_call_s=0.0, save=nothing, stop=nothing, start=start,
        measure_default=measure,
    )  # fmt: skip
    finish: Any = SimpleNamespace(close=lambda: None, try_again=lambda: None)
    loop = JobLoop(parts.consumer, prepare, Executors(engine, None), finish, job_timeout_s=600)
    loop.run()
    assert calls == ["measuring", "over", "started"]
