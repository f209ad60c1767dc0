"""The end of a worker that hangs: what has not begun goes back to the queue, without a crash."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from redis import Redis

from models.jobs.records import JobStatus
from tests.workers.parts import Parts, submit
from workers import exit
from workers.exit import EXIT_CODE
from workers.heartbeat import HUNG_GRACE_S, Heartbeat


class Exited(BaseException):
    pass


@pytest.fixture
def exit_codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise Exited

    monkeypatch.setattr(exit, "os", SimpleNamespace(_exit=leave))
    return codes


def test_jobs_that_wait_in_a_worker_that_hangs_are_requeued_in_order(redis: Redis, exit_codes: list[int]) -> None:
    job_ids = [submit(redis) for _ in range(4)]
    parts = Parts(redis)
    jobs = [parts.consumer.take(timeout_s=1) for _ in job_ids]
    for job in jobs[:2]:
        assert job.become_ready() and job.start_running()
    jobs[1].stop_clock()
    jobs[3].start_ending()
    stopped: list[float] = []
    prepare = SimpleNamespace(stop_taking=stopped.append)
    beat = Heartbeat(parts.maintenance, parts.consumer, prepare, 1.0, lambda: HUNG_GRACE_S + 2)
    with pytest.raises(Exited):
        beat._exit_if_hung()
    assert exit_codes == [EXIT_CODE] and len(stopped) == 1
    assert redis.lrange("rq:queue:photogram", 0, -1) == [job_id.encode() for job_id in job_ids[1:3]]
    assert [parts.ledger.read(job_id).status for job_id in job_ids[:3]] == [
        JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.QUEUED,
    ]  # fmt: skip
    assert [parts.ledger.start(job_id, "again") for job_id in job_ids[1:3]] == [0, 0]


def test_a_worker_that_hangs_ends_although_redis_is_gone(redis: Redis, exit_codes: list[int]) -> None:
    def fail(timeout_s: float) -> None:
        raise ConnectionError

    parts = Parts(redis)
    beat = Heartbeat(parts.maintenance, parts.consumer, SimpleNamespace(stop_taking=fail), 1.0, lambda: 1000.0)
    with pytest.raises(Exited):
        beat._exit_if_hung()
    assert exit_codes == [EXIT_CODE]
