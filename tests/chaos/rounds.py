"""Rounds of chaos: parts of the service are killed with SIGKILL while clients submit jobs, and all is counted after."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from models.jobs.kinds import DIFFUSION_QUEUE
from service.short_lived import free_port
from tests.chaos.load import STEP_PX, Clients
from tests.chaos.receiver import ReceiverProcess
from tests.e2e.conftest import CATALOG, KEY, Stack
from tests.s3 import S3Server, s3_server

VICTIMS = ("gateway", "worker", "valkey", "s3", "receiver")
BEFORE_S, OUTAGE_S = (0.3, 2.0), (0.5, 2.0)
"""How long a round waits before it kills, and for how long a part is away that nobody restarts."""
NEXT_JOB_S, START_S = 150.0, 60.0
TOLD_S = 150.0
"""How long the webhooks may take at the end: a sender that died holds its lane for a minute."""


@dataclass(frozen=True)
class Round:
    """One kill."""

    victim: str
    next_job_s: float
    """From the kill, or from the restart of what nobody restarts, to the end of a job that was submitted since."""


@dataclass(frozen=True)
class Report:
    """What became of all jobs."""

    accepted: int
    statuses: dict[str, int]
    errors: dict[str, int]
    """The codes of the jobs that failed."""
    unreadable_images: int
    usage: dict[str, float]
    """Of the day."""
    finished_told: int
    """Jobs whose end the receiver was told."""
    told_again: int
    """Events that came more than once, all with the same id."""
    ids_of_one_end: int
    """The largest number of different ids with which the end of one job was told."""
    tracebacks: int
    refused: list[int]
    rounds: list[Round] = field(default_factory=list)


class Service:
    """``photogram up`` with its images in S3, and a receiver of webhooks."""

    def __init__(self, data: Path, model: Path, s3: S3Server, events: Path, *, workers: int = 1) -> None:
        (data / "catalog.toml").write_text(CATALOG.format(folder=model))
        self.stack = Stack(data, PHOTOGRAM_WEBHOOK_PRIVATE="1", PHOTOGRAM_WORKERS=str(workers), **s3.variables)
        self.receiver = ReceiverProcess(free_port(), events)
        self._s3 = s3
        with self.stack.client() as client:
            client.webhooks.add(self.receiver.url, ["job.started", "job.finished"])

    def kill(self, victim: str, outage_s: float) -> float:
        """Kill a part of the service; returns the time from which it should work again (monotonic)."""
        if victim in ("s3", "receiver"):
            process = self._s3 if victim == "s3" else self.receiver
            process.kill()
            time.sleep(outage_s)
            process.start()
        else:
            self.process(victim).kill()
        return time.monotonic()

    def process(self, name: str) -> psutil.Process:
        """The process of this name, once it runs."""
        marks = {
            "gateway": "service.commands.gateway",
            "worker": f"-m workers --queue {DIFFUSION_QUEUE}",
            "valkey": "valkey",
        }
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            for child in self.stack.family():
                if marks[name] in _command_line(child):
                    return child
            time.sleep(0.05)
        raise AssertionError(f"the {name} does not run")

    def close(self) -> None:
        """Kill everything."""
        self.receiver.kill()
        self.stack.close()


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it ended this moment
        return ""


@contextmanager
def running_service(folder: Path, model: Path, **options: Any) -> Iterator[Service]:
    """A service whose files are below ``folder``."""
    data = folder / "data"
    data.mkdir()
    with s3_server(folder / "s3") as s3:
        service = Service(data, model, s3, folder / "events", **options)
        try:
            yield service
        finally:
            service.close()


def victims(rounds: int, seed: int) -> Iterator[str]:
    """What is killed in each round; every part once in each five rounds."""
    shuffled = random.Random(seed)
    for first in range(0, rounds, len(VICTIMS)):
        yield from shuffled.sample(VICTIMS, len(VICTIMS))[: rounds - first]


def run_rounds(service: Service, rounds: int, seed: int, clients: int = 6) -> Report:
    """Kill as often as ``rounds`` says, and report what became of all jobs."""
    chance, load, found = random.Random(seed), Clients(service.stack.url, KEY, clients), []
    load.start()
    for victim in victims(rounds, seed):
        time.sleep(chance.uniform(*BEFORE_S))
        back_at = service.kill(victim, chance.uniform(*OUTAGE_S))
        found.append(Round(victim, round(load.next_end(back_at, NEXT_JOB_S) - back_at, 2)))
        print(found[-1], flush=True)
    load.stop()
    return audit(service, load, found)


def audit(service: Service, load: Clients, rounds: list[Round]) -> Report:
    """What became of the jobs of ``load``."""
    _wait_until_told(service, load.accepted)
    jobs = [load.get(f"/v1/jobs/{job_id}") for job_id in sorted(load.accepted)]
    images = [image["url"] for job in jobs if job["result"] for image in job["result"]["images"]]
    usage = load.get("/v1/usage")
    told = [each for each in service.receiver.told() if each.type == "job.finished"]
    ids = {job_id: {each.message_id for each in told if each.job_id == job_id} for job_id in load.accepted}
    return Report(
        accepted=len(load.accepted),
        statuses=dict(Counter(job["status"] for job in jobs)),
        errors=dict(Counter(job["error"]["code"] for job in jobs if job["error"])),
        unreadable_images=sum(load.status_of(url) != 200 for url in images),
        usage=usage["days"][0],
        finished_told=len({each.job_id for each in told} & load.accepted),
        told_again=len(told) - len({each.message_id for each in told}),
        ids_of_one_end=max(map(len, ids.values())),
        tracebacks=sum("Traceback" in line for line in service.stack.errors),
        refused=sorted(load.refused),
        rounds=rounds,
    )


def _wait_until_told(service: Service, jobs: set[str]) -> None:
    deadline = time.monotonic() + TOLD_S
    while not jobs <= {each.job_id for each in service.receiver.told() if each.type == "job.finished"}:
        if time.monotonic() > deadline:
            return
        time.sleep(0.2)


def problems(report: Report) -> list[str]:
    """What must not be, in words; each number of usage is that of the jobs that clients were told of."""
    usage, accepted = report.usage, report.accepted
    rules = {
        "each accepted job succeeded": report.statuses == {"succeeded": accepted},
        "each image can be read": report.unreadable_images == 0,
        "each job was counted once": usage["jobs"] == usage["succeeded"] == accepted,
        "each job was charged once": usage["units"] == accepted * STEP_PX / 1e6,
        "each end was told": report.finished_told == accepted,
        "each end was told under one id": report.ids_of_one_end == 1,
        "no process failed": report.tracebacks == 0,
    }
    return [rule for rule, holds in rules.items() if not holds]
