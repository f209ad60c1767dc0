"""The trail's lines of jobs: one for each end, whoever ends the job, without what the caller wrote."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from models.errors import DrawingFailed
from models.jobs.results import Image
from models.jobs.tickets import Ticket
from service.backbone import trail
from service.backbone.connections import connect_async
from service.backbone.keyspace import record_key
from service.backbone.ledger import CRASH_LIMIT, Ledger
from service.backbone.watch import JobWatcher
from tests.intake import BlockingIntake


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The fields of the lines so far."""
    caplog.set_level(logging.INFO, logger=trail.__name__)
    return lambda: [record.fields for record in caplog.records if record.name == trail.__name__]  # type: ignore[attr-defined]


def cancel(redis_url: str, job_id: str) -> None:
    async def run() -> None:
        connection = connect_async(redis_url, "photogram-test")
        watcher = JobWatcher(connection, 600)
        await watcher.cancel(job_id)
        await watcher.cancel(job_id)
        await connection.aclose(close_connection_pool=True)

    asyncio.run(run())


def test_a_finished_job_has_one_line(
    ledger: Ledger, intake: BlockingIntake, ticket: Callable[..., Ticket], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    job = intake.accept(ticket(prompt="a canary", width=128, height=64), {}).record
    ledger.start(job.job_id, "execution")
    assert lines() == []
    timings = {"prepare_s": 0.1, "denoise_s": 1.5, "finish_s": 0.2}
    assert ledger.succeed(job.job_id, "execution", [Image(job.image_id, 128, 64)], timings)
    assert not ledger.succeed(job.job_id, "execution", [], timings)
    (line,) = lines()
    assert line.pop("queue_s") >= 0 and line.pop("total_s") >= 0
    assert line == {
        "id": job.job_id, "key": "owner", "kind": "txt2img", "model": job.params.model_name, "size": "128x64",
        "steps": str(job.steps), "outcome": "succeeded", "code": None, "run_s": None, **timings,
    }  # fmt: skip


def test_each_end_has_one_line(
    ledger: Ledger, intake: BlockingIntake, ticket: Callable[..., Ticket], redis_url: str,
    lines: Callable[[], list[dict[str, Any]]],
) -> None:  # fmt: skip
    failed, canceled, stopped, crashed = (intake.accept(ticket(), {}).record.job_id for _ in range(4))
    ledger.start(failed, "1")
    ledger.fail(failed, "1", DrawingFailed("the prompt 'a canary' cannot be drawn"))
    cancel(redis_url, canceled)
    ledger.start(stopped, "2")
    cancel(redis_url, stopped)
    ledger.start(stopped, "3")
    for number in range(CRASH_LIMIT + 2):
        ledger.start(crashed, f"crash-{number}")
    found = [(line["id"], line["outcome"], line["code"]) for line in lines()]
    assert found == [
        (failed, "failed", "drawing_failed"),
        (canceled, "canceled", None),
        (stopped, "canceled", None),
        (crashed, "failed", "worker_crashed"),
    ]
    assert "canary" not in str(lines())


def test_prompts_are_written_only_if_asked_for(
    ledger: Ledger, intake: BlockingIntake, ticket: Callable[..., Ticket], lines: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PHOTOGRAM_LOG_PROMPTS", "1")
    job_id = intake.accept(ticket(prompt="a canary"), {}).record.job_id
    ledger.start(job_id, "1")
    ledger.cancel(job_id, "1")
    assert lines()[0]["prompt"] == "a canary"


@pytest.mark.parametrize("damage", [b"", b"\xf0\x9f\x90\xa4".decode().encode(), b"[1]", b"{", b'"x"'])
@pytest.mark.parametrize("name", ["params", "timings", "images", "created_at", "started_at"])
def test_a_damaged_record_still_has_a_line(
    redis: Redis, ledger: Ledger, job: str, lines: Callable[[], list[dict[str, Any]]], name: str, damage: bytes
) -> None:
    ledger.start(job, "1")
    redis.hset(record_key(job), name, damage)
    assert ledger.cancel(job, "1")
    assert [(line["id"], line["outcome"]) for line in lines()] == [(job, "canceled")]
