"""The place of a job in its queue: what is taken before it, and when it will probably end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from redis import Redis

from models.jobs.kinds import DIFFUSION_QUEUE
from models.jobs.records import JobRecord
from models.jobs.tickets import Ticket
from service.backbone import places
from service.backbone.allowances import Demand
from service.backbone.connections import connect_async
from service.backbone.ledger import Ledger
from service.backbone.places import JobTime, PaceNotes, Place, Places, pace_field
from service.backbone.turns import Turns
from tests.intake import BlockingIntake

SIZE = {"width": 512, "height": 512, "num_inference_steps": 4}
STEP_PX = 512 * 512 * 4


async def place_of(places: Places, job: JobRecord) -> Place:
    return await places.of(job.job_id, job.status.value.encode(), lambda: job)


@pytest.fixture
async def found(redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Places]:
    """Places that remember nothing."""
    monkeypatch.setattr(places, "_CACHED_S", -1.0)
    connection = connect_async(redis_url, "test")
    yield Places(connection)
    await connection.aclose(close_connection_pool=True)


@pytest.fixture
def submit(redis: Redis, ticket: Callable[..., Ticket]) -> Callable[..., JobRecord]:
    intake = BlockingIntake(redis, max_queued=1000)
    return lambda owner="a": intake.accept(ticket(owner=owner, **SIZE), {}, demand=Demand(STEP_PX)).record


async def test_jobs_ahead_are_those_that_are_taken_before(redis, found, submit):
    jobs = [submit(owner) for owner in ("a", "a", "a", "a", "b", "a", "b", "c", "b", "b")]
    expected = {job.job_id: (await place_of(found, job)).ahead for job in jobs}
    turns, order = Turns(redis, DIFFUSION_QUEUE), []
    turns.take()  # the first one waits in RQ's list, and not for its turn
    while (job_id := turns.take()) is not None:
        order.append(job_id)
    assert all(abs(expected[job_id] - index) <= 2 for index, job_id in enumerate(order))
    of_a = [expected[job.job_id] for job in jobs if job.owner == "a"]
    assert of_a == sorted(of_a) and expected[jobs[-1].job_id] == max(expected.values())


async def test_without_workers_or_jobs_that_ended_no_time_is_told(redis, found, submit):
    job = submit()
    assert (await place_of(found, job)).eta_s is None
    Ledger(redis, 600).beat("worker")
    assert (await place_of(found, job)).eta_s is None


async def test_times_follow_from_what_jobs_took(redis, found, submit):
    jobs, ledger = [submit() for _ in range(5)], Ledger(redis, 600)
    ledger.beat("worker")
    PaceNotes(redis, DIFFUSION_QUEUE).note(JobTime("house", pace_field(jobs[0].params), STEP_PX, 2.0))
    assert [(await place_of(found, job)).eta_s for job in jobs] == pytest.approx([2.0, 2.0, 4.0, 6.0, 8.0])
    ledger.beat("another worker")
    assert (await place_of(found, jobs[-1])).eta_s == pytest.approx(2.0 + 3 * 2.0 / 2)


async def test_work_ahead_takes_what_mixed_jobs_took_together(redis, found, submit):
    jobs, notes = [submit() for _ in range(5)], PaceNotes(redis, DIFFUSION_QUEUE)
    Ledger(redis, 600).beat("worker")
    notes.note(JobTime("m", "tiny", STEP_PX // 100, 1.0))
    for _ in range(60):  # averages settle between the two
        notes.note(JobTime("m", "large", 2 * STEP_PX, 3.0))
        notes.note(JobTime("m", "tiny", STEP_PX // 100, 1.0))
    assert (await place_of(found, jobs[-1])).eta_s == pytest.approx(4 * 2.0, rel=0.1)


async def test_a_queue_moves_at_the_pace_of_jobs_that_run_together(redis, found, submit):
    jobs, notes = [submit() for _ in range(5)], PaceNotes(redis, DIFFUSION_QUEUE)
    Ledger(redis, 600).beat("worker")
    notes.note(JobTime("m", pace_field(jobs[0].params), STEP_PX, 2.0))
    notes.note(JobTime("m", pace_field(jobs[0].params), STEP_PX, 0.5, is_shared=True))
    assert (await place_of(found, jobs[-1])).eta_s == pytest.approx(4 * 0.5)
    assert (await place_of(found, jobs[0])).eta_s == pytest.approx(2.0)


async def test_an_average_follows_slowly(redis, submit, found):
    job, notes = submit(), PaceNotes(redis, DIFFUSION_QUEUE)
    Ledger(redis, 600).beat("worker")
    notes.note(JobTime("house", pace_field(job.params), STEP_PX, 2.0))
    notes.note(JobTime("house", pace_field(job.params), STEP_PX, 12.0))
    assert (await place_of(found, job)).eta_s == pytest.approx(3.0)


async def test_a_place_is_kept_for_a_moment(redis, found, submit, monkeypatch):
    monkeypatch.setattr(places, "_CACHED_S", 100.0)
    submit()
    submit()
    job = submit()
    place = await place_of(found, job)
    Turns(redis, DIFFUSION_QUEUE).take()
    Turns(redis, DIFFUSION_QUEUE).take()
    assert await place_of(found, job) is place and place.ahead == 1
