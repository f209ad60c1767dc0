"""The phases of a held job: each way through them, and the end that a job has only once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from models.errors import InternalFailure
from tests.workers.parts import Parts, submit
from workers.held_jobs import HeldJob, HeldJobs, Phase


@pytest.fixture
def job(redis: Redis) -> HeldJob:
    submit(redis)
    job = Parts(redis).consumer.take(timeout_s=1)
    assert job is not None
    return job


def test_a_job_goes_through_all_phases(job: HeldJob) -> None:
    assert job.phase is Phase.TAKEN
    assert job.start_preparing() and job.phase is Phase.PREPARING
    assert job.become_ready({}) and job.phase is Phase.READY
    assert job.start_running() and job.phase is Phase.RUNNING
    assert job.start_ending() and job.phase is Phase.ENDING


def test_no_transition_leads_out_of_ending(job: HeldJob) -> None:
    assert job.start_ending()
    transitions = (job.start_preparing, job.become_ready, job.start_running, job.start_ending)
    assert [transition() for transition in transitions] == [False] * 4
    assert job.phase is Phase.ENDING


def test_a_failure_that_comes_after_the_end_is_dropped(job: HeldJob) -> None:
    job.start_preparing()
    job.start_ending()
    assert not job.become_ready(failure=InternalFailure("late"))
    assert job.failure is None


def test_a_transition_that_the_table_lacks_is_an_error(job: HeldJob) -> None:
    with pytest.raises(RuntimeError, match="from TAKEN to RUNNING"):
        job.start_running()
    job.become_ready()
    with pytest.raises(RuntimeError, match="from READY to PREPARING"):
        job.start_preparing()


def test_a_job_ends_once_whoever_ends_it(job: HeldJob) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: job.start_ending(), range(64))) == 1


def test_requests_to_cancel_are_taken_once_and_only_for_held_jobs(job: HeldJob) -> None:
    held = HeldJobs()
    held.request_cancel(job.execution_id)
    held.request_cancel_of_job(job.job_id)
    assert held.take_cancel_requests() == []
    held.add(job)
    held.request_cancel(job.execution_id)
    held.request_cancel_of_job(job.job_id)
    held.request_cancel_of_job("another")
    assert held.take_cancel_requests() == [job] and held.take_cancel_requests() == []
    held.request_cancel(job.execution_id)
    held.remove(job)
    assert held.take_cancel_requests() == [] and held.all() == []
