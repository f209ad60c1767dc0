"""What one Valkey carries: jobs that are accepted, taken, reported on and ended in a second, and its CPU time for each.

``python -m benchmarks.ledger`` starts Valkey, and client processes that are gateway and worker in one, without any
model: each accepts a job, takes one, reports its steps and ends it. Clients need more CPU than Valkey, so that the rate
is theirs on a machine with few cores. What Valkey carries follows from its own CPU time for a job: it runs commands in
one thread, which a core can serve without a pause.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from redis import Redis

from models.catalog.catalog import Catalog
from models.jobs.kinds import DIFFUSION_QUEUE, job_kinds
from models.jobs.params import DrawRequest
from models.jobs.records import new_job_id
from models.jobs.tickets import open_ticket
from service.backbone.admission import Entry
from service.backbone.connections import connect, connect_async, wait_for_redis
from service.backbone.keyspace import record_key
from service.backbone.ledger import Ledger
from service.backbone.queue import Intake
from service.valkey import socket_url, valkey_command
from workers.consumer import Consumer
from workers.fetching.gate import FetchGate
from workers.held_jobs import HeldJob, HeldJobs
from workers.rq_adapter import RqAdapter

CATALOG = Catalog({})
REPORTS, POLLS = 20, 10
"""How often a worker reports a step of one job, and a client polls it."""


class Client:
    """One gateway and one worker."""

    def __init__(self, url: str, name: str) -> None:
        self.redis, self._runner = connect(url, name), asyncio.Runner()
        self._intake, self._ledger, held = Intake(connect_async(url, name), 10**6), Ledger(self.redis, 3600), HeldJobs()
        adapter, gate = RqAdapter(self.redis, name, DIFFUSION_QUEUE, held), FetchGate(self.redis, DIFFUSION_QUEUE)
        self._consumer = Consumer(adapter, self._ledger, held, job_kinds(), lambda: CATALOG, gate)
        self._owner = name

    def accept(self) -> str:
        """Accept a job."""
        ticket = open_ticket(DrawRequest(prompt="x"), CATALOG, job_id=new_job_id(), owner=self._owner)
        return self._runner.run(self._intake.accept(Entry(ticket, {}))).record.job_id

    def take(self) -> HeldJob:
        """Take a job; there is one."""
        while (job := self._consumer.take(1.0)) is None:
            pass
        return job

    def report(self, job: HeldJob) -> None:
        """Report all steps of the job."""
        for step in range(1, REPORTS + 1):
            self._ledger.progress(job.job_id, job.execution_id, step, REPORTS)

    def end(self, job: HeldJob) -> None:
        """End the job as succeeded."""
        job.start_ending()
        self._consumer.succeed(job, [], {})

    def poll(self, job: HeldJob) -> None:
        """Read the record as often as clients do."""
        for _ in range(POLLS):
            self.redis.hgetall(record_key(job.job_id))


def run_client(url: str, name: str, jobs: int) -> None:
    """Whole jobs, one after the other."""
    client = Client(url, name)
    for _ in range(jobs):
        client.accept()
        job = client.take()
        client.report(job)
        client.poll(job)
        client.end(job)


def cpu_s(redis: Redis) -> float:
    """The CPU time of Valkey's main thread so far."""
    used: Any = redis.info("cpu")
    return float(used["used_cpu_user_main_thread"]) + float(used["used_cpu_sys_main_thread"])


def together(url: str, clients: int, jobs: int) -> dict[str, float]:
    """The rate of whole jobs by several processes at once, and what Valkey used for each."""
    with connect(url, "benchmark") as redis, ProcessPoolExecutor(clients) as pool:
        list(pool.map(run_client, [url] * clients, [f"warm{number}" for number in range(clients)], [10] * clients))
        used_s, began_at = cpu_s(redis), time.perf_counter()
        list(pool.map(run_client, [url] * clients, [f"c{number}" for number in range(clients)], [jobs] * clients))
        took_s, used_s = time.perf_counter() - began_at, cpu_s(redis) - used_s
    total = jobs * clients
    return {
        "clients": clients,
        "jobs_per_s": round(total / took_s, 1),
        "valkey_cpu_ms_per_job": round(used_s / total * 1000, 3),
        "valkey_busy": round(used_s / took_s, 3),
        "jobs_per_s_of_a_busy_core": round(total / used_s),
    }


def parts(url: str, jobs: int) -> dict[str, float]:
    """Valkey's CPU time for each part of a job in milliseconds, one client alone."""
    client, found = Client(url, "parts"), {}

    taken: list[HeldJob] = []

    def measure(name: str, call: Callable[[int], object]) -> None:
        began_s = cpu_s(client.redis)
        for number in range(jobs):
            call(number)
        found[name] = round((cpu_s(client.redis) - began_s) / jobs * 1000, 3)

    measure("accept", lambda _: client.accept())
    measure("take", lambda _: taken.append(client.take()))
    measure(f"{REPORTS} reports", lambda number: client.report(taken[number]))
    measure(f"{POLLS} polls", lambda number: client.poll(taken[number]))
    measure("end", lambda number: client.end(taken[number]))
    return found


def main() -> None:
    """Print the results as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=300, help="jobs of each client")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "valkey.sock"
        valkey = subprocess.Popen(valkey_command(Path(folder) / "valkey", path))
        try:
            url = socket_url(path)
            with connect(url, "benchmark") as connection:
                wait_for_redis(connection, 10)
            found = {
                "valkey_cpu_ms": parts(url, options.jobs),
                "together": [together(url, clients, options.jobs) for clients in options.clients],
            }
            print(json.dumps(found, indent=2))
        finally:
            valkey.terminate()
            valkey.wait(10)


if __name__ == "__main__":
    main()
