"""What is kept of finished images so that they can be found: fingerprints or nothing; no job fails for want of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from redis import Redis

from models.eyes.encoders import image_encoder
from models.eyes.fingerprints import Fingerprint
from models.jobs.records import JobStatus
from models.jobs.results import JobOutput
from service.backbone.keyspace import owner_fingerprints_key, record_key
from service.backbone.records import FINGERPRINTS
from service.backbone.store import FileStore, ImageStore
from tests.models.provenance.samples import photograph
from tests.workers.parts import Parts, marking, submit
from workers.executors import Finished
from workers.fingerprinting import Fingerprints, by_eyes, none_of
from workers.finish import Finish

IMAGE = photograph(128, 9)


def kept_of_a_job(redis: Redis, folder: Path, fingerprints: Fingerprints) -> dict[str, str] | None:
    """Finish a job that drew ``IMAGE``; what its record has of it, by the id of the image."""
    parts = Parts(redis)
    images, files = ImageStore(folder / "images"), FileStore(folder / "files")
    finish = Finish(parts.consumer, images, files, marking(folder), 60, fingerprints=fingerprints)
    job_id = submit(redis)
    job = parts.consumer.take(1)
    assert job is not None and job.become_ready() and job.start_running() and job.start_ending()
    finish.succeed(job, Finished(job.execution_id, JobOutput(images=(IMAGE,)), {}))
    finish.close()
    assert parts.ledger.read(job_id).status is JobStatus.SUCCEEDED
    text = redis.hget(record_key(job_id), FINGERPRINTS)
    assert (redis.zscore(owner_fingerprints_key("me"), job_id) is None) == (text is None)
    return None if text is None else json.loads(text)


def test_a_fingerprint_of_the_image_is_in_the_record(redis: Redis, tmp_path: Path) -> None:
    kept = kept_of_a_job(redis, tmp_path, by_eyes)
    assert kept is not None
    [text] = kept.values()
    assert text == Fingerprint.of(IMAGE).to_text()


def test_with_search_off_nothing_is_kept(redis: Redis, tmp_path: Path) -> None:
    assert kept_of_a_job(redis, tmp_path, none_of) is None


def test_a_fingerprint_that_cannot_be_made_fails_no_job(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("models.eyes.encoders.EYES_FOLDER", tmp_path / "gone")
    image_encoder.cache_clear()
    assert kept_of_a_job(redis, tmp_path, by_eyes) is None
    assert "no fingerprints could be made" in caplog.text
