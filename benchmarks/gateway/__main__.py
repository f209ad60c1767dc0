"""Measures one gateway process: polls beside a bare route, accepted jobs, events, and the cost of a deep queue.

``python -m benchmarks.gateway`` starts Valkey, one gateway without a worker, and the bare application. Clients, servers
and Valkey share the machine, so the rounds of polls alternate between the servers, and the medians of the rounds are
compared. The CPU time of a server for each request says more than its latencies where other programs run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
from statistics import median
from typing import Any

from benchmarks.gateway.bare import BARE_KEY
from benchmarks.gateway.client import Connection
from benchmarks.gateway.copies import copy_job
from benchmarks.gateway.load import BODY, Hand, accept_latencies, event_latency_ms, new_job, polls
from benchmarks.gateway.servers import Server, bare, gateway, valkey
from models.jobs.kinds import DIFFUSION_QUEUE
from service.backbone.connections import connect, connect_async
from service.backbone.keyspace import rq_queue_key, waiting_key
from service.backbone.turns import Turns

ROUND_S = 2.0
EVENT_JOBS = 50
DEPTH_CONNECTIONS = 16


async def poll_ratios(ours: Server, other: Server, key: str, rounds: int, redis: Any) -> dict[str, Any]:
    """Polls per second and CPU milliseconds for each, of a queued job, a finished job, and the bare route."""
    queued, finished = await new_job(ours.port, key), await new_job(ours.port, key)
    hand = Hand(redis)
    await hand.start(finished)
    await hand.succeed(finished)
    connection = await Connection.open(ours.port, key)
    _, body = await connection.request("GET", f"/v1/jobs/{finished}")
    await redis.set(BARE_KEY.format(job_id=finished), body)
    asked = {
        "bare": (other, f"/jobs/{finished}"),
        "queued": (ours, f"/v1/jobs/{queued}"),
        "finished": (ours, f"/v1/jobs/{finished}"),
    }
    rates: dict[str, list[float]] = {name: [] for name in asked}
    cpu_ms: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, (server, path) in asked.items():
            before = server.cpu_s
            count = await polls(server.port, key, path, ROUND_S)
            rates[name].append(count / ROUND_S)
            cpu_ms[name].append((server.cpu_s - before) / count * 1000)
    return {
        name: {
            "polls_per_s": round(median(rates[name])),
            "cpu_ms": round(median(cpu_ms[name]), 3),
            "share_of_bare": round(median(a / b for a, b in zip(rates[name], rates["bare"], strict=True)), 2),
        }
        for name in asked
    }


async def accepting(ours: Server, key: str, rate: int, seconds: int) -> dict[str, Any]:
    """Latencies at ``rate`` jobs a second, after two seconds of warm-up."""
    await accept_latencies(ours.port, key, rate, 2)
    before = ours.cpu_s
    latencies = await accept_latencies(ours.port, key, rate, seconds)
    return {
        "rate_per_s": rate,
        "p50_ms": round(latencies[len(latencies) // 2], 2),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)], 2),
        "cpu_ms": round((ours.cpu_s - before) / len(latencies) * 1000, 2),
    }


async def depth(ours: Server, key: str, url: str, redis: Any, depths: list[int], sample: int) -> dict[str, Any]:
    """For each length of the queue: CPU milliseconds for accepting one more job, and for taking one."""
    copied, found = await new_job(ours.port, key), {}
    with connect(url, "benchmark-turns") as connection:
        turns = Turns(connection, DIFFUSION_QUEUE)
        for wanted in depths:
            await copy_job(redis, copied, wanted - await _queued(redis))
            before = ours.cpu_s, await _redis_cpu_s(redis)
            await _post(ours.port, key, sample)
            accepted = ours.cpu_s, await _redis_cpu_s(redis)
            for _ in range(sample):
                turns.take()
            taken_s = await _redis_cpu_s(redis)
            found[str(wanted)] = {
                "gateway_accept_cpu_ms": round((accepted[0] - before[0]) / sample * 1000, 3),
                "redis_accept_cpu_ms": round((accepted[1] - before[1]) / sample * 1000, 3),
                "redis_take_cpu_ms": round((taken_s - accepted[1]) / sample * 1000, 3),
            }
    return found


async def _queued(redis: Any) -> int:
    return int(await redis.llen(rq_queue_key())) + int(await redis.hlen(waiting_key()))


async def _redis_cpu_s(redis: Any) -> float:
    used = await redis.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


async def _post(port: int, key: str, count: int) -> None:
    """Queue ``count`` jobs as fast as the gateway accepts them."""

    async def post(share: int) -> None:
        connection = await Connection.open(port, key)
        for _ in range(share):
            status, answer = await connection.request("POST", "/v1/jobs", BODY)
            assert status == 202, answer
        connection.close()

    await asyncio.gather(*(post(len(range(n, count, DEPTH_CONNECTIONS))) for n in range(DEPTH_CONNECTIONS)))


async def measure(ours: Server, other: Server, key: str, url: str, options: argparse.Namespace) -> dict[str, Any]:
    """All measurements that ``options`` ask for."""
    async with connect_async(url, "benchmark-hand") as redis:
        found: dict[str, Any] = {"load_average": os.getloadavg()[0]}
        found["polls"] = await poll_ratios(ours, other, key, options.rounds, redis)
        found["accept"] = await accepting(ours, key, options.rate, options.seconds)
        found["end_to_event_ms"] = round(await event_latency_ms(ours.port, key, Hand(redis), EVENT_JOBS), 2)
        if options.depths:
            found["depth"] = await depth(ours, key, url, redis, options.depths, options.sample)
        return found


def main() -> None:
    """Print the results as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200, help="jobs a second (default: 200)")
    parser.add_argument("--seconds", type=int, default=10, help="how long jobs are accepted (default: 10)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of polls (default: 5)")
    parser.add_argument("--depths", type=int, nargs="*", default=[], help="lengths of the queue, ascending")
    parser.add_argument("--sample", type=int, default=500, help="jobs measured at each length (default: 1000)")
    options = parser.parse_args()
    key = secrets.token_urlsafe(32)
    limits = {"PHOTOGRAM_KEY_REQUESTS_PER_MINUTE": "100000000", "PHOTOGRAM_KEY_UNITS_PER_DAY": "1000000000"}
    with valkey(key) as url, gateway(url, **limits) as ours, bare(url) as other:
        print(json.dumps(asyncio.run(measure(ours, other, key, url, options)), indent=2))


if __name__ == "__main__":
    main()
