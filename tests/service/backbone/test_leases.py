"""Leases: renewed while somebody waits, removed after it, and the end of the job when they expire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from redis import Redis

from models.jobs.records import JobStatus
from models.jobs.tickets import Ticket
from service.backbone import leases
from service.backbone.connections import connect_async
from service.backbone.keyspace import LEASES_KEY
from service.backbone.leases import LEASE_S, Leases, LeaseSweeper
from service.backbone.ledger import Ledger
from tests.intake import BlockingIntake


@pytest.fixture
def leased(intake: BlockingIntake, ticket: Callable[..., Ticket]) -> str:
    """The id of a queued job with a lease."""
    return intake.accept(ticket(), {"prompt": "x"}, is_leased=True).record.job_id


def expire(redis: Redis, job_id: str) -> None:
    redis.zadd(LEASES_KEY, {job_id: time.time() - 1})


def status(ledger: Ledger, job_id: str) -> JobStatus:
    record = ledger.read(job_id)
    assert record is not None
    return record.status


def test_only_an_expired_lease_ends_a_job(redis: Redis, ledger: Ledger, leased: str, job: str) -> None:
    sweeper = LeaseSweeper(redis, 600)
    for _ in range(3):
        sweeper.sweep()
    assert (status(ledger, leased), status(ledger, job)) == (JobStatus.QUEUED, JobStatus.QUEUED)
    expire(redis, leased)
    sweeper.sweep()
    assert status(ledger, leased) is JobStatus.QUEUED, "one sweep is too soon after Redis stood still"
    sweeper.sweep()
    assert (status(ledger, leased), status(ledger, job)) == (JobStatus.CANCELED, JobStatus.QUEUED)
    assert redis.zcard(LEASES_KEY) == 0


def test_a_lease_that_is_renewed_between_two_sweeps_goes_on(redis: Redis, ledger: Ledger, leased: str) -> None:
    sweeper = LeaseSweeper(redis, 600)
    for _ in range(3):
        expire(redis, leased)
        sweeper.sweep()
        redis.zadd(LEASES_KEY, {leased: time.time() + LEASE_S})
        sweeper.sweep()
    assert status(ledger, leased) is JobStatus.QUEUED


def test_a_running_job_is_asked_to_stop_and_a_finished_one_stays(redis: Redis, ledger: Ledger, leased: str) -> None:
    sweeper = LeaseSweeper(redis, 600)
    ledger.start(leased, "execution")
    expire(redis, leased)
    sweeper.sweep()
    sweeper.sweep()
    assert ledger.canceled_among([leased]) == [leased]
    ledger.succeed(leased, "execution", [], {})
    expire(redis, leased)
    sweeper.sweep()
    sweeper.sweep()
    assert (status(ledger, leased), redis.zcard(LEASES_KEY)) == (JobStatus.SUCCEEDED, 0)


async def _renewed(redis_url: str, job_ids: list[str], redis: Redis) -> list[float | None]:
    connection = connect_async(redis_url, "photogram-test")
    found: list[float | None] = []
    async with Leases(connection).renewing(job_ids):
        await asyncio.sleep(0.2)
        found += [redis.zscore(LEASES_KEY, job_id) for job_id in job_ids]
    await connection.aclose(close_connection_pool=True)
    return found


def test_leases_are_renewed_while_the_block_lasts(
    redis: Redis, redis_url: str, leased: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_S", 0.02)
    expire(redis, leased)
    (end, unknown) = asyncio.run(_renewed(redis_url, [leased, "removed-by-a-worker"], redis))
    assert end is not None and end > time.time() + LEASE_S / 2
    assert unknown is None, "a lease that a worker removed came back"
    assert redis.zcard(LEASES_KEY) == 0
