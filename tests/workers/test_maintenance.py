"""Maintenance: cancellations that no message announced, and the end of a worker without Redis."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from service.backbone import scripts
from service.backbone.keyspace import events_key, record_key
from tests.workers.parts import Parts, submit
from workers.worker import sign_off


def test_a_cancellation_whose_message_was_lost_is_found(redis: Redis) -> None:
    worker = Parts(redis)
    kept, canceled = submit(redis), submit(redis)
    jobs = [worker.consumer.take(timeout_s=1) for _ in range(2)]
    redis.register_script(scripts.cancel())(
        keys=[record_key(canceled), events_key(canceled)], args=[repr(time.time()), 600]
    )
    worker.maintenance.beat()
    assert [job.job_id for job in worker.held.take_cancel_requests()] == [canceled]
    assert [job.job_id for job in jobs if job is not None] == [kept, canceled]


def test_a_worker_that_stops_while_redis_is_away_ends_without_an_error(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    parts = Parts(redis)
    redis.connection_pool.disconnect()
    redis.connection_pool.reset()
    redis.connection_pool.connection_kwargs |= {"port": 1, "retry": None}
    sign_off(parts.maintenance, parts.adapter)
    assert "stays on the lists of workers" in caplog.text
