"""``photogram up`` while it downloads a model: stopped in the middle, started again, and beyond a job's deadline."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import KEY, Stack
from tests.e2e.test_commands import command
from tests.loopback_hub import LoopbackHub, serving_hub

ENTRY = """
[models.{name}]
family = "stable-diffusion"
repository = "someone/{name}"
revision = "{commit}"
defaults = {{ width = 64, height = 64, num_inference_steps = 2 }}
"""
DEADLINE_S = 3
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with serving_hub() as served:
        yield served


@pytest.fixture
def data(tmp_path: Path, tiny_folder: Path, hub: LoopbackHub) -> Path:
    """A data folder whose default model nobody may have, with another model that the hub gives to anybody."""
    gated = hub.add("someone/gated", tiny_folder, is_gated=True)
    far = hub.add("someone/far", tiny_folder)
    entries = [ENTRY.format(name=name, commit=each.commit) for name, each in (("gated", gated), ("far", far))]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "catalog.toml").write_text('default = "gated"\n' + "".join(entries))
    return folder


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def bytes_of(stack: Stack, job_id: str) -> int:
    """The bytes of its model's download that a running job tells; 0 if it tells none."""
    job = httpx.get(f"{stack.url}/v1/jobs/{job_id}", headers=BEARER).json()
    is_loading = job["status"] == "running" and job["progress"]["loading"] == "model far"
    return (job["progress"]["done_bytes"] or 0) if is_loading else 0


def test_a_download_outlives_deadlines_and_stops_of_the_server(
    data: Path, hub: LoopbackHub, stacks: list[Stack], tmp_path: Path
) -> None:
    variables = {"HF_HUB_OFFLINE": "", **hub.environment(tmp_path / "cache")}
    hub.faults.pause_s = 0.1
    stacks.append(stack := Stack(data, PHOTOGRAM_JOB_TIMEOUT_S=str(DEADLINE_S), **variables))
    assert stack.ready == f"ready {stack.url}"
    with stack.client() as client:
        job_id = client.submit("a cat", model="far").id
    until(lambda: bytes_of(stack, job_id) > 0, "the job tells bytes of its model")
    time.sleep(2 * DEADLINE_S)
    done_bytes = bytes_of(stack, job_id)
    assert done_bytes > 0

    assert stack.stop(signal.SIGTERM) == 0
    assert not [line for line in stack.errors if "Traceback" in line or "does not stop" in line], stack.errors
    listed = command("service.commands.models", "--data", str(data), "list", **variables).stdout
    assert "far: not downloaded, " in listed and "not running: photogram models pull far, or its first job" in listed
    assert list((tmp_path / "cache").rglob("*.incomplete"))

    stacks.append(stack := Stack(data, **variables))
    until(lambda: bytes_of(stack, job_id) > done_bytes, "the download goes on")
    assert stack.stop(signal.SIGINT) == 0
    assert not [line for line in stack.errors if "Traceback" in line or "does not stop" in line], stack.errors

    hub.faults.pause_s = 0
    hub.requests.clear()
    stacks.append(stack := Stack(data, **variables))
    with stack.client() as client:
        assert client.jobs.wait(job_id, timeout_s=120).status == "succeeded"
        assert [asked for _, path, asked in hub.requests if asked is not None and "/resolve/" in path]
        a_default_that_cannot_be_had_is_told(stack)
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    assert stack.stop() == 0


def a_default_that_cannot_be_had_is_told(stack: Stack) -> None:
    """The server is ready without its default model, and says why once a job has asked for it."""
    assert "the default model gated is not on this machine: its first job downloads it" in "".join(stack.errors)
    with stack.client() as client:
        job = client.jobs.wait(client.submit("a cat").id, timeout_s=60)
    assert job.error is not None and "someone/gated is gated: ask for access" in job.error.message
    ready = httpx.get(f"{stack.url}/readyz")
    checks = {check["name"]: check for check in ready.json()["checks"]}
    assert (ready.status_code, checks["models"]["status"]) == (200, "degraded")
    assert "GET /v1/models says which and why" in checks["models"]["detail"]
    listed = httpx.get(f"{stack.url}/v1/models", headers=BEARER).json()["models"]
    told = {model["name"]: model["problem"] for model in listed}
    assert "is gated: ask for access" in told["gated"] and told["far"] is None
