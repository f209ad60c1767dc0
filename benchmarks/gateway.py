"""The speed of one gateway process: latencies of accepted jobs at a fixed rate, and status polls per second.

``python -m benchmarks.gateway`` starts Valkey and one gateway process without a worker. Jobs are posted on a fixed
schedule, so that a slow response does not reduce the load. Each connection polls again as soon as it has the response
to its last poll. Client, gateway and Valkey share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from service.backbone.connections import connect, wait_for_redis
from service.backbone.keys import add_key
from service.short_lived import free_port
from service.valkey import socket_url, valkey_command

POLLING_S = 5.0
BODY = json.dumps({"kind": "txt2img", "params": {"prompt": "a red apple"}}).encode()


class Connection:
    """A minimal HTTP/1.1 keep-alive connection, so that the client takes little of the CPU that is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self._reader, self._writer = reader, writer
        self._headers = f"Host: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"

    @classmethod
    async def open(cls, port: int, key: str) -> Connection:
        """Connect to the gateway."""
        return cls(*await asyncio.open_connection("127.0.0.1", port), key)

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send one request; returns status and body."""
        head = f"{method} {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        response = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in response.lower().split(b"\r\n") if b"content-length" in line)
        return int(response.split(b" ", 2)[1]), await self._reader.readexactly(length)


async def accept_latencies(port: int, key: str, rate: int, seconds: int) -> list[float]:
    """Milliseconds from the time at which each job was due to its 202 response, sorted."""
    idle = [await Connection.open(port, key) for _ in range(32)]
    latencies: list[float] = []

    async def post(due: float) -> None:
        connection = idle.pop() if idle else await Connection.open(port, key)
        status, _ = await connection.request("POST", "/v1/jobs", BODY)
        assert status == 202, status
        latencies.append((time.perf_counter() - due) * 1000)
        idle.append(connection)

    start, posts = time.perf_counter() + 0.1, []
    for number in range(rate * seconds):
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        posts.append(asyncio.create_task(post(due)))
    await asyncio.gather(*posts)
    return sorted(latencies)


async def polls_per_second(port: int, key: str, connections: int, seconds: float) -> float:
    """How many status polls of one queued job the gateway answers per second."""
    first = await Connection.open(port, key)
    job_id = json.loads((await first.request("POST", "/v1/jobs", BODY))[1])["id"]
    until = time.perf_counter() + seconds

    async def poll() -> int:
        connection, answered = await Connection.open(port, key), 0
        while time.perf_counter() < until:
            status, _ = await connection.request("GET", f"/v1/jobs/{job_id}")
            assert status == 200, status
            answered += 1
        return answered

    return sum(await asyncio.gather(*(poll() for _ in range(connections)))) / seconds


def cpu_s(pid: int) -> float:
    """The CPU time that a process has used, in seconds (``proc(5)``: the fields utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(pid: int, port: int, key: str, rate: int, seconds: int) -> dict[str, float]:
    """Run all measurements, after two seconds of warm-up.

    The CPU time of the gateway's process for each request says more than the latencies where other programs run.
    """
    await accept_latencies(port, key, rate, 2)
    at_start = cpu_s(pid)
    latencies = await accept_latencies(port, key, rate, seconds)
    accepted = cpu_s(pid)
    polls = await polls_per_second(port, key, 16, POLLING_S) * POLLING_S
    return {
        "rate_per_s": rate,
        "accept_p50_ms": round(latencies[len(latencies) // 2], 2),
        "accept_p99_ms": round(latencies[int(len(latencies) * 0.99)], 2),
        "accept_cpu_ms": round((accepted - at_start) / len(latencies) * 1000, 2),
        "polls_per_s": round(polls / POLLING_S),
        "poll_cpu_ms": round((cpu_s(pid) - accepted) / polls * 1000, 2),
    }


def wait_until_listening(port: int, key: str) -> None:
    """Return when the gateway accepts connections."""
    deadline = time.monotonic() + 20
    while True:
        try:
            asyncio.run(Connection.open(port, key))
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main() -> None:
    """Print the results as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    key, port = secrets.token_urlsafe(32), free_port()
    with tempfile.TemporaryDirectory() as folder:
        socket_path = Path(folder) / "valkey.sock"
        url = socket_url(socket_path)
        environment = os.environ | {"REDIS_URL": url, "PHOTOGRAM_DATA": folder}
        gateway = [sys.executable, "-m", "service.commands.gateway", "--port", str(port)]
        valkey = subprocess.Popen(valkey_command(Path(folder) / "valkey", socket_path))
        try:
            with connect(url, "benchmark") as connection:
                wait_for_redis(connection, 10)
                add_key(connection, key, "benchmark")
            server = subprocess.Popen(gateway, env=environment)
            try:
                wait_until_listening(port, key)
                print(json.dumps(asyncio.run(measure(server.pid, port, key, options.rate, options.seconds))))
            finally:
                server.terminate()
                server.wait(10)
        finally:
            valkey.terminate()
            valkey.wait(10)


if __name__ == "__main__":
    main()
