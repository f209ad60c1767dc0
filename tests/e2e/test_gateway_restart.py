"""A gateway that is killed: connections wait for the next one, and jobs of synchronous calls end."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from tests.e2e.conftest import KEY, Stack
from tests.polling import until


def gateway_of(stack: Stack) -> psutil.Process:
    (found,) = [child for child in stack.family() if "service.commands.gateway" in child.cmdline()]
    return found


def test_no_connection_is_refused_while_the_gateway_is_replaced(data_with_tiny: Path, stacks: list[Stack]) -> None:
    stacks.append(stack := Stack(data_with_tiny))
    refused: list[OSError] = []
    counts = {"connections": 0}
    done = threading.Event()

    def connect() -> None:
        while not done.is_set():
            try:
                socket.create_connection(("127.0.0.1", stack.port), timeout=30).close()
                counts["connections"] += 1
            except OSError as error:
                refused.append(error)
            time.sleep(0.005)

    thread = threading.Thread(target=connect)
    thread.start()
    killed = [gateway_of(stack)]
    killed[0].kill()
    until(lambda: killed[0].pid not in [child.pid for child in stack.family()])
    answer = httpx.get(f"{stack.url}/healthz", timeout=60)  # sent while nobody listens
    killed.append(gateway_of(stack))
    killed[1].terminate()
    answers = [answer, httpx.get(f"{stack.url}/healthz", timeout=60)]
    done.set()
    thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert refused == [] and counts["connections"] > 10


def test_the_job_of_a_synchronous_call_ends_with_its_killed_gateway(data_with_tiny: Path, stacks: list[Stack]) -> None:
    stacks.append(stack := Stack(data_with_tiny))
    body = {"prompt": "an apple", "steps": 900, "width": 512, "height": 512, "sampler_name": "DDIM"}

    def call() -> None:
        with suppress(httpx.TransportError):
            httpx.post(f"{stack.url}/sdapi/v1/txt2img", json=body, auth=("me", KEY), timeout=120)

    thread = threading.Thread(target=call)
    thread.start()
    with stack.client() as client:
        jobs = httpx.Client(base_url=stack.url, headers={"X-API-Key": KEY}, timeout=60)
        until(lambda: [job["status"] for job in jobs.get("/v1/jobs").json()["jobs"]] == ["running"])
        gateway_of(stack).kill()
        thread.join()
        (job,) = jobs.get("/v1/jobs").json()["jobs"]
        assert job["status"] == "running"
        until(lambda: client.jobs.get(job["id"]).status == "canceled")
        jobs.close()
