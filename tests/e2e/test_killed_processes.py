"""One process of a running service is killed: connections wait, no job is lost, and every job's end is told.

The tests share one service, which recovers from each of them.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

from service.short_lived import free_port
from tests.e2e.conftest import CATALOG, KEY, Stack
from tests.polling import until
from tests.webhook_receiver import Receiver, slow


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("killed")
    (data / "catalog.toml").write_text(CATALOG.format(folder=tiny_folder))
    stack = Stack(data, PHOTOGRAM_WEBHOOK_PRIVATE="1")
    yield stack
    stack.close()


@pytest.fixture
def stack(started: Stack) -> Stack:
    """The service, which is started again if a test has ended it."""
    if started.process.poll() is not None:
        started.start_again()
    return started


def gateway_of(stack: Stack) -> psutil.Process:
    (found,) = [child for child in stack.family() if "service.commands.gateway" in child.cmdline()]
    return found


def test_no_connection_is_refused_while_the_gateway_is_replaced(stack: Stack) -> None:
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


def test_the_job_of_a_synchronous_call_ends_with_its_killed_gateway(stack: Stack) -> None:
    body = {"prompt": "an apple", "steps": 900, "width": 512, "height": 512, "sampler_name": "DDIM"}

    def call() -> None:
        with suppress(httpx.TransportError):
            httpx.post(f"{stack.url}/sdapi/v1/txt2img", json=body, auth=("me", KEY), timeout=120)

    thread = threading.Thread(target=call)
    thread.start()
    with stack.client() as client, httpx.Client(base_url=stack.url, headers={"X-API-Key": KEY}, timeout=60) as http:
        (job,) = until(lambda: http.get("/v1/jobs", params={"status": "running"}).json()["jobs"])
        gateway_of(stack).kill()
        thread.join()
        assert http.get(f"/v1/jobs/{job['id']}").json()["status"] == "running"
        until(lambda: client.jobs.get(job["id"]).status == "canceled")


def test_a_killed_valkey_comes_back_and_costs_nothing(stack: Stack) -> None:
    with stack.client() as client:
        long = {"num_inference_steps": 400, "sampler": "DDIM", "width": 256, "height": 256}
        jobs = [client.submit(f"image {number}", **long) for number in range(4)]
        until(lambda: client.jobs.get(jobs[-1].id).progress.step, 60)
        time.sleep(1.5)  # the append-only file is flushed once a second
        killed_at = datetime.now(UTC)
        next(child for child in stack.family() if "valkey" in child.name()).kill()
        jobs = [client.jobs.wait(job.id, timeout_s=120) for job in jobs]
    assert {job.status for job in jobs} == {"succeeded"}
    assert any(job.finished_at > killed_at for job in jobs), "all were done before the kill"


def finished(receiver: Receiver) -> dict[str, str]:
    """The status of each job whose end was told."""
    return {got.event["data"]["id"]: got.event["data"]["status"] for got in receiver.got if got.type == "job.finished"}


def test_every_end_of_a_job_is_told_by_webhooks_whoever_is_killed(stack: Stack) -> None:
    port = free_port()
    with stack.client() as client:
        events = ["job.started", "job.finished"]
        endpoint = client.webhooks.add(f"http://127.0.0.1:{port}/hook", events)
        jobs = [client.submit("an apple", num_inference_steps=40).id for _ in range(6)]
        until(lambda: client.webhooks.attempts(endpoint.id), 60)  # while nobody receives
        stack.workers()[0].kill()
        with Receiver(port=port) as receiver:
            receiver.always = slow(0.5)
            receiver.wait_for(1, 60)
            gateway_of(stack).kill()  # during an attempt
            jobs += [client.submit("an apple").id for _ in range(2)]
            expected = dict.fromkeys(jobs, "succeeded")
            until(lambda: finished(receiver) == expected, 200, lambda: f"{receiver.types()} {stack.errors[-5:]}")
            ids: dict[tuple[str, str], set[str]] = {}
            for got in receiver.got:
                assert got.verified(endpoint.secret)
                ids.setdefault((got.event["data"]["id"], got.type), set()).add(got.headers["webhook-id"])
            assert all(len(each) == 1 for each in ids.values())  # what comes twice has one id
            assert {job_id for job_id, kind in ids if kind == "job.finished"} == set(jobs)


def test_a_killed_supervisor_leaves_no_process(stack: Stack) -> None:
    everyone = stack.family()
    assert len(everyone) >= 3
    stack.process.kill()
    assert psutil.wait_procs(everyone, timeout=15)[1] == []
