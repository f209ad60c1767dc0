"""An agent job whose process is killed before and after every one of its steps ends as if nothing had happened."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from models.jobs.agents import Budget
from service.backbone.keyspace import owner_jobs_key, record_key
from tests.workers.agent.conftest import running
from tests.workers.agent.world import OWNER, AgentWorld
from tests.workers.conftest import ROOT

pytestmark = pytest.mark.timeout(600)
JOB = {"brief": "two icons: an apple and a banana", "seed": 3, "budget": Budget(steps=8)}
"""Its steps are of every kind: a choice, remarks, drawing, and tools of the sandbox; then the budget ends it."""


class Runs:
    """Runs the function of agent jobs in processes of their own."""

    def __init__(self, world: AgentWorld, folder: Path) -> None:
        self.world, self.folder, self.deaths = world, folder, 0
        self._executions = 0

    def run(self, job_id: str, *, dies: bool = False) -> dict[str, Any]:
        """The result of a job, whose process may die as often as it likes."""
        marks = self.folder / job_id
        marks.mkdir(exist_ok=True)
        while True:
            self._executions += 1
            self.world.redis.hset(record_key(job_id), "crashes", 0)  # more than any worker would allow
            command = [sys.executable, "-m", "tests.workers.agent.dying", job_id, f"run-{self._executions}"]
            done = subprocess.run(
                [*command, str(marks) if dies else ""], cwd=ROOT, env=self.world.environment, stdout=subprocess.PIPE
            )
            if done.returncode == 0:
                result: dict[str, Any] = json.loads(done.stdout)
                return result
            assert dies and done.returncode == -signal.SIGKILL
            self.deaths += 1

    def jobs(self) -> int:
        """How many jobs the key has."""
        return int(self.world.redis.zcard(owner_jobs_key(OWNER)))


@pytest.fixture
def runs(tmp_path: Path, tiny_folder: Path) -> Iterator[Runs]:
    data, folder = tmp_path / "data", tmp_path / "marks"
    data.mkdir()
    folder.mkdir()
    with running(data, tiny_folder, has_agents=False) as world:
        yield Runs(world, folder)


def shown(result: dict[str, Any]) -> Any:
    """What must be the same in every run: images, workspace, plan and checks, but nothing of time."""
    with zipfile.ZipFile(BytesIO(base64.b64decode(result["files"]["workspace.zip"]))) as archive:
        names = sorted(archive.namelist())
    return result["images"], names, result["document"], result["files"]["report.md"]


def test_killed_around_every_step_a_job_ends_as_one_that_was_left_alone(runs: Runs) -> None:
    quiet = runs.run(runs.world.ask_for(**JOB))
    before = runs.jobs()
    disturbed = runs.run(runs.world.ask_for(**JOB), dies=True)
    steps = json.loads(base64.b64decode(disturbed["files"]["record.json"]))["steps"]
    assert runs.deaths == 2 * len(steps) > 16, "before and after each step"
    assert shown(disturbed) == shown(quiet)
    own = 1
    assert runs.jobs() - before == before - own + own, "no job was paid for twice"
