"""The thread that reports progress: it survives whatever goes wrong with one report."""

from __future__ import annotations

import threading
import time

import numpy as np
from redis import Redis

from service.backbone.keyspace import watched_key
from service.backbone.ledger import Ledger
from tests.workers.parts import Parts, submit
from workers.report import Report


class FaultyLedger:
    """Fails for one job, and says when another one was written."""

    def __init__(self, ledger: Ledger, faulty_id: str) -> None:
        self._ledger, self._faulty_id, self.is_written = ledger, faulty_id, threading.Event()

    def progress(self, job_id: str, execution_id: str, step: int, steps: int, **others: object) -> str:
        if job_id == self._faulty_id:
            raise TypeError("no such step")
        verdict = self._ledger.progress(job_id, execution_id, step, steps)
        self.is_written.set()
        return verdict


def test_reports_go_on_after_any_error_and_steps_may_be_numpy_integers(redis: Redis) -> None:
    parts = Parts(redis)
    submit(redis)
    submit(redis)
    faulty, good = (parts.consumer.take(timeout_s=1) for _ in range(2))
    ledger = FaultyLedger(parts.ledger, faulty.job_id)
    report = Report(ledger, parts.held)
    report.note(faulty, 1, 3, None)
    report.note(good, np.int64(1), np.int64(3), None)
    report.start()
    for step in (1, 2):
        assert ledger.is_written.wait(30)
        assert parts.ledger.read(good.job_id).step == step
        ledger.is_written.clear()
        report.note(faulty, step, 3, None)
        report.note(good, step + 1, 3, None)
    assert report.is_alive()


def test_a_job_counts_as_watched_as_of_its_last_report(redis: Redis) -> None:
    parts = Parts(redis)
    submit(redis)
    job = parts.consumer.take(timeout_s=1)
    report = Report(parts.ledger, parts.held)
    report.start()
    assert job is not None and not job.is_watched
    for step, is_watched in enumerate((True, False), 1):
        redis.set(watched_key(job.job_id), "1") if is_watched else redis.delete(watched_key(job.job_id))
        report.note(job, step, 3, None)
        deadline = time.monotonic() + 10
        while job.is_watched is not is_watched:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert parts.held.take_cancel_requests() == []
