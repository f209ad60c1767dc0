"""Each part of the service is killed once under load: no accepted job is lost, and none is charged or told twice."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.rounds import VICTIMS, problems, run_rounds, running_service
from tests.tiny import build_tiny_sd


def test_every_accepted_job_ends_once_whatever_is_killed(tmp_path: Path) -> None:
    (tmp_path / "s3").mkdir()
    with running_service(tmp_path, build_tiny_sd(tmp_path / "model")) as service:
        report = run_rounds(service, rounds=len(VICTIMS), seed=7)
    assert report.accepted >= len(VICTIMS)
    assert problems(report) == [], report
