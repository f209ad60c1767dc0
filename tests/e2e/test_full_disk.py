"""``photogram up`` on a disk without space: it waits, says so once, and works as soon as there is space."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.disks import Disk, small_disk
from tests.e2e.conftest import CATALOG, KEY, Stack

HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Disk]:
    with small_disk(tmp_path_factory.mktemp("full-disk") / "data", "32m") as made:
        (made.folder / "catalog.toml").write_text(CATALOG.format(folder=tiny_folder))
        yield made


@pytest.fixture(scope="module")
def stack(disk: Disk) -> Iterator[Stack]:
    """A service that is started while the disk is full, which is so for three seconds more."""
    disk.fill()
    threading.Timer(3.0, disk.free).start()
    started = Stack(disk.folder)
    try:
        yield started
        assert started.stop() == 0
    finally:
        started.close()


def tracebacks(stack: Stack) -> list[str]:
    return [line for line in stack.errors if "Traceback" in line]


def test_a_start_without_space_says_so_once_and_recovers(disk: Disk, stack: Stack) -> None:
    assert stack.ready == f"ready {stack.url}"
    assert len([line for line in stack.errors if "waiting, because the folder 'data' cannot be written" in line]) == 1
    assert len([line for line in stack.errors if "the data folder can be written again" in line]) == 1
    with stack.client() as client:
        assert client.generate("a cat").data
    for path in disk.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"
    assert tracebacks(stack) == []


def test_a_disk_that_is_full_for_a_while_costs_no_job(disk: Disk, stack: Stack) -> None:
    with stack.client() as client:
        jobs = [client.submit(f"image {number}", num_inference_steps=200, sampler="DDIM") for number in range(6)]
        disk.fill()
        statuses = {httpx.get(f"{stack.url}/readyz").status_code for _ in range(5)}
        body = {"kind": "txt2img", "params": {"prompt": "x"}}
        answers = [httpx.post(f"{stack.url}/v1/jobs", json=body, headers=HEADERS, timeout=20) for _ in range(20)]
        assert {answer.status_code for answer in answers} <= {202, 503}
        threading.Event().wait(12.0)  # the executions of the workers expire meanwhile
        refused = httpx.post(f"{stack.url}/v1/jobs", json=body, headers=HEADERS, timeout=20)
        assert (refused.status_code, httpx.get(f"{stack.url}/readyz").status_code) == (503, 503), statuses
        disk.free()
        jobs = [client.jobs.wait(job.id, timeout_s=120) for job in jobs]
    assert {job.status for job in jobs} == {"succeeded"}
    assert list(disk.folder.rglob("*.partial")) == []
    assert tracebacks(stack) == []


def test_a_gateway_that_starts_while_the_disk_is_full_serves_what_there_is(disk: Disk, stack: Stack) -> None:
    with stack.client() as client:
        result = client.generate("a cat").job.result
    assert result is not None
    image = result.images[0]
    disk.fill()
    gateway = next(child for child in stack.family() if "service.commands.gateway" in child.cmdline())
    gateway.kill()
    gateway.wait()
    path = httpx.URL(image.url).path
    for _ in range(100):
        threading.Event().wait(0.2)
        try:
            answer = httpx.get(f"{stack.url}{path}")
        except httpx.TransportError:
            continue
        break
    assert answer.status_code == 200 and httpx.get(f"{stack.url}/readyz").status_code == 503
    disk.free()
    assert tracebacks(stack) == []
