"""The loads that are measured: accepting at a fixed rate, polling, and waiting for the end of a job."""

from __future__ import annotations

import asyncio
import json
import time
from statistics import median

from redis.asyncio import Redis

from benchmarks.gateway.client import Connection
from service.backbone import scripts
from service.backbone.keyspace import events_key, record_key, watched_key

BODY = json.dumps({"kind": "txt2img", "params": {"prompt": "a red apple"}}).encode()
QUEUED_MAX = 1_000_000
"""The gateway's limit for the queue, which the deepest queue of the benchmark does not reach."""
POLLERS = 16
_EXECUTION = "benchmark"
_IMAGES = json.dumps([{"image_id": "benchmark", "width": 512, "height": 512}])


async def accept_latencies(port: int, key: str, rate: int, seconds: float) -> list[float]:
    """Milliseconds from the time at which each job was due to its 202 response, sorted.

    Jobs are posted on a fixed schedule, so that a slow response does not reduce the load.
    """
    idle = [await Connection.open(port, key) for _ in range(32)]
    latencies: list[float] = []

    async def post(due: float) -> None:
        connection = idle.pop() if idle else await Connection.open(port, key)
        status, _ = await connection.request("POST", "/v1/jobs", BODY)
        assert status == 202, status
        latencies.append((time.perf_counter() - due) * 1000)
        idle.append(connection)

    start, posts = time.perf_counter() + 0.1, []
    for number in range(int(rate * seconds)):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        posts.append(asyncio.create_task(post(due)))
    await asyncio.gather(*posts)
    for connection in idle:
        connection.close()
    return sorted(latencies)


async def new_job(port: int, key: str) -> str:
    """Queue a job; returns its id."""
    connection = await Connection.open(port, key)
    status, answer = await connection.request("POST", "/v1/jobs", BODY)
    assert status == 202, answer
    connection.close()
    return str(json.loads(answer)["id"])


async def polls(port: int, key: str, path: str, seconds: float) -> int:
    """How many times ``path`` is answered in ``seconds``, to connections that ask again once they are answered."""
    until = time.perf_counter() + seconds

    async def poll() -> int:
        connection, answered = await Connection.open(port, key), 0
        while time.perf_counter() < until:
            status, _ = await connection.request("GET", path)
            assert status == 200, status
            answered += 1
        connection.close()
        return answered

    return sum(await asyncio.gather(*(poll() for _ in range(POLLERS))))


class Hand:
    """Does to jobs what a worker does, without drawing anything."""

    def __init__(self, connection: Redis) -> None:
        self._start = connection.register_script(scripts.start())
        self._finish = connection.register_script(scripts.finish())

    async def start(self, job_id: str) -> None:
        """Start the job."""
        await self._run(self._start, job_id, _EXECUTION, 3, "")

    async def succeed(self, job_id: str) -> None:
        """End the job with an image, which need not be stored for its record to be read."""
        await self._run(self._finish, job_id, _EXECUTION, "succeeded", "images", _IMAGES, "timings", "{}")

    async def _run(self, script: object, job_id: str, *arguments: object) -> None:
        keys = [record_key(job_id), events_key(job_id), watched_key(job_id)]
        await script(keys=keys, args=[repr(time.time()), 3600, *arguments])  # type: ignore[operator]


async def event_latency_ms(port: int, key: str, hand: Hand, jobs: int) -> float:
    """The median of the milliseconds from the end of a job to its last server-sent event, of ``jobs`` jobs."""
    latencies = []
    for _ in range(jobs):
        job_id = await new_job(port, key)
        await hand.start(job_id)
        connection = await Connection.open(port, key)
        await connection.stream(f"/v1/jobs/{job_id}/events")
        await connection.read_until(b'"status":"running"')
        ended = asyncio.create_task(connection.read_until(b'"status":"succeeded"'))
        await asyncio.sleep(0.01)
        began = time.perf_counter()
        await hand.succeed(job_id)
        await ended
        latencies.append((time.perf_counter() - began) * 1000)
        connection.close()
    return median(latencies)
