"""Jobs that an earlier version queued, from a recorded Redis state, are drawn by today's worker."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from models.jobs.records import JobStatus
from service.backbone.inputs import InputStore
from tests.redis_state import restore

RECORDED = Path(__file__).parents[1] / "service" / "backbone" / "recorded"


@pytest.mark.parametrize("version", sorted(path.stem for path in RECORDED.glob("*.json")))
def test_jobs_of_an_earlier_version_are_drawn(world, version: str) -> None:
    recorded = json.loads((RECORDED / f"{version}.json").read_text())
    inputs = InputStore(world.data / "inputs")
    for image in recorded["inputs"]:
        inputs.add(base64.b64decode(image))
    restore(world.redis, recorded["redis"])
    before = {name: world.record(job_id) for name, job_id in recorded["jobs"].items()}
    assert before["running"].status is JobStatus.RUNNING and before["txt2img"].status is JobStatus.QUEUED
    world.redis.delete("photogram:workers")  # or the dead worker counts as one that has just started
    world.start_worker()
    world.until_over(*recorded["jobs"].values(), timeout_s=120)
    after = {name: world.record(job_id) for name, job_id in recorded["jobs"].items()}
    ended = {name: (record.status, record.error_message) for name, record in after.items()}
    assert ended.pop("canceled") == (JobStatus.CANCELED, None)
    assert ended.pop("face_restore")[0] is JobStatus.FAILED, "the catalog has no model that restores faces"
    assert set(ended.values()) == {(JobStatus.SUCCEEDED, None)}, ended
    assert after["face_restore"].error_code == "model_unavailable"
    assert after["finished"] == before["finished"]
    assert {name: record.params for name, record in after.items()} == {
        name: record.params for name, record in before.items()
    }
    assert world.redis.hget(f"photogram:job:{recorded['jobs']['running']}", "crashes") == b"1"
    (enlarged,) = after["second_pass"].images
    assert (enlarged.width, enlarged.height) == (64, 64)
