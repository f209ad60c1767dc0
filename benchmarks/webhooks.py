"""What webhooks add to a job: the time of the scripts that accept, start and finish it, with 0, 1 and 10 endpoints.

``python -m benchmarks.webhooks`` starts Valkey and no sender, so that what is queued stays. The cases take turns,
so that whatever else the machine does slows all of them; the figures are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from redis import Redis

from models.catalog.catalog import Catalog
from models.jobs.params import DrawRequest
from models.jobs.records import new_job_id
from models.jobs.tickets import Ticket, open_ticket
from models.jobs.urls import FetchPolicy
from service.backbone.admission import Entry
from service.backbone.connections import connect, connect_async, wait_for_redis
from service.backbone.ledger import Ledger
from service.backbone.queue import Intake
from service.backbone.webhooks.endpoints import WebhookStore
from service.backbone.webhooks.events import Event
from service.valkey import socket_url, valkey_command

ENDPOINTS = (0, 1, 10)


def timed_ms(call: Callable[[], object]) -> float:
    """How long ``call`` takes, in milliseconds."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


async def accepting_ms(intake: Intake, ticket: Ticket) -> float:
    """How long it takes to accept a job, in milliseconds."""
    began = time.perf_counter()
    await intake.accept(Entry(ticket, {}))
    return (time.perf_counter() - began) * 1000


async def measure(connection: Redis, intake: Intake, jobs: int) -> dict[str, dict[str, float]]:
    """The median of each step in milliseconds, by the number of endpoints."""
    store, ledger = WebhookStore(connection, FetchPolicy()), Ledger(connection, 3600)
    for count in ENDPOINTS:
        for _ in range(count):
            store.create(f"key{count}", "https://example.org/", [Event.FINISHED], "")
    times: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(jobs):
        for count in ENDPOINTS:
            ticket = open_ticket(DrawRequest(prompt="x"), Catalog({}), job_id=new_job_id(), owner=f"key{count}")
            job_id, found = ticket.job_id, times[str(count)]
            found["accept_ms"].append(await accepting_ms(intake, ticket))
            found["start_ms"].append(timed_ms(partial(ledger.start, job_id, "e")))
            found["finish_ms"].append(timed_ms(partial(ledger.succeed, job_id, "e", [], {})))
    return {
        count: {name: round(statistics.median(each), 3) for name, each in found.items()}
        for count, found in times.items()
    }


async def measured(connection: Redis, url: str, jobs: int) -> dict[str, dict[str, float]]:
    """As :func:`measure`, with an intake on the server at ``url``."""
    async with connect_async(url, "benchmark-intake") as asynchronous:
        return await measure(connection, Intake(asynchronous, 10**6), jobs)


def main() -> None:
    """Print the results as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "valkey.sock"
        valkey = subprocess.Popen(valkey_command(Path(folder) / "valkey", path))
        try:
            with connect(socket_url(path), "benchmark") as connection:
                wait_for_redis(connection, 10)
                print(json.dumps(asyncio.run(measured(connection, socket_url(path), options.jobs)), indent=2))
        finally:
            valkey.terminate()
            valkey.wait(10)


if __name__ == "__main__":
    main()
