"""``photogram up``: ready, busy, wounded, stopped, and started again."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from photogram import Job, Photogram, Progressed
from PIL import Image

from tests.e2e.conftest import KEY, Stack
from tests.llm.engines import LLM_FOLDER, python_or_skip, shared_memory
from tests.polling import until

SAMPLERS = ("Euler", "Euler a", "DDIM", "DPM++ 2M", "DPM++ 2M Karras", "LCM")


def test_thirty_two_clients_and_a_killed_worker_cost_nothing(data_with_tiny: Path, stacks: list[Stack]) -> None:
    stacks.append(stack := Stack(data_with_tiny, "--workers", "2", PHOTOGRAM_ROWS="8"))
    assert stack.ready == f"ready {stack.url}"
    family = stack.family()
    killed = stack.workers()[0]
    steps: list[list[int]] = [[] for _ in range(32)]

    def draw(number: int) -> Image.Image:
        with stack.client() as client:
            job = client.submit(
                f"image {number}", seed=number, sampler=SAMPLERS[number % 6], num_inference_steps=30 + number % 20,
                guidance_scale=1.0 + number % 4, width=128 + 128 * (number % 2), height=256,
            )  # fmt: skip
            for event in client.jobs.watch(job):
                if isinstance(event, Progressed):
                    steps[number].append(event.step)
            return Image.open(BytesIO(client.download(job.id).data))

    with ThreadPoolExecutor(32) as pool:
        drawings = [pool.submit(draw, number) for number in range(32)]
        drawn = list(zip(steps, drawings, strict=True))
        until(lambda: sum(bool(told) and not drawing.done() for told, drawing in drawn) > 8, 60)  # more than one draws
        killed.kill()
        images = [drawing.result(timeout=120) for drawing in drawings]
    assert [image.size for image in images] == [(128 + 128 * (number % 2), 256) for number in range(32)]
    assert all(told == sorted(told) for told in steps), "progress rises also where a job is begun anew"
    workers = stack.workers()
    assert len(workers) == 2 and killed not in workers and len(set(workers) - set(family)) == 1
    everyone = stack.family()
    assert stack.stop() == 0
    assert psutil.wait_procs(everyone, timeout=10)[1] == []


def first_key_of(stack: Stack) -> list[str]:
    """The API keys that it has shown."""
    return [line.split()[-1] for line in stack.errors if line.startswith("API key")]


def test_accepted_jobs_and_the_first_key_survive_a_restart_of_everything(
    data_with_tiny: Path, stacks: list[Stack]
) -> None:
    stacks.append(first := Stack(data_with_tiny, PHOTOGRAM_BOOTSTRAP_KEY=""))
    (key,) = first_key_of(first)
    answer = httpx.get(f"{first.url}/v1/samplers", headers={"X-API-Key": key})
    listed = answer.json()["samplers"]
    assert {sampler["name"] for sampler in listed if sampler["problem"] is None} >= set(SAMPLERS)
    with Photogram(first.url, key) as client:
        jobs = [client.submit(f"image {number}", num_inference_steps=400, sampler="DDIM") for number in range(12)]
    everyone = first.family()
    assert first.stop(signal.SIGINT) == 0
    assert psutil.wait_procs(everyone, timeout=10)[1] == []
    stopped_at = datetime.now(UTC)
    stacks.append(second := Stack(data_with_tiny, PHOTOGRAM_BOOTSTRAP_KEY=""))
    assert second.ready and not [line for line in second.errors if "API key" in line], "a key is shown once"
    with Photogram(second.url, key) as client:
        jobs = [client.jobs.wait(job.id, timeout_s=120) for job in jobs]
    assert {job.status for job in jobs} == {"succeeded"}
    assert any(job.finished_at > stopped_at for job in jobs), "all were done before the stop"


def test_a_port_that_is_taken_is_said_and_nothing_stays(
    data_with_tiny: Path, stacks: list[Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr("tests.e2e.conftest.free_port", lambda: taken.getsockname()[1])
        stacks.append(stack := Stack(data_with_tiny))
        assert stack.ready == ""
        assert stack.process.wait(15) == 1
    assert any("could not start" in line for line in stack.errors)


def engine_of(stack: Stack) -> list[psutil.Process]:
    """The language engine's processes, its guard first."""
    guards = [process for process in stack.family() if "service.llm.guard" in process.cmdline()]
    return [process for guard in guards for process in (guard, *guard.children(recursive=True))]


@pytest.fixture
def llm_cache(tmp_path: Path) -> str:
    """A cache where the language model is, if the engine is installed at all."""
    python_or_skip()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "language").symlink_to(LLM_FOLDER)
    return str(tmp_path / "cache")


def test_without_a_language_model_everything_else_runs(
    data_with_tiny: Path, stacks: list[Stack], tmp_path: Path
) -> None:
    stacks.append(stack := Stack(data_with_tiny, PHOTOGRAM_LLM="auto", PHOTOGRAM_CACHE=str(tmp_path / "cache")))
    (line,) = [line for line in stack.errors if "rewriting" in line]
    assert line.startswith("photogram up: prompt rewriting is off: ") and "run `photogram llm install`" in line
    with stack.client() as client:
        assert client.generate("a cat").data
    assert engine_of(stack) == []


def rewritten(stack: Stack, prompt: str) -> dict[str, Any]:
    """What the gateway makes of a prompt."""
    body, headers = {"prompt": prompt, "profile": "sentence"}, {"Authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{stack.url}/v1/prompts/rewrite", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["rewrite"]


def kill_the_engine_under_load(stack: Stack) -> None:
    """No job fails, whatever was going on with its prompt; and the engine comes back."""

    def draw(number: int) -> Job:
        return client.generate(f"a cat with {number} kittens", enhance_prompt=True, seed=number).job

    with stack.client() as client, ThreadPoolExecutor(12) as pool:
        drawings = [pool.submit(draw, number) for number in range(48)]
        until(lambda: sum(drawing.done() for drawing in drawings) >= 6, 60)
        engine_of(stack)[1].kill()
        jobs = [drawing.result(timeout=120) for drawing in drawings]
    assert [job.status for job in jobs] == ["succeeded"] * 48
    statuses = {job.rewrite.status for job in jobs if job.rewrite is not None}
    assert {"applied", "unavailable"} <= statuses <= {"applied", "unavailable", "timeout"}
    until(lambda: rewritten(stack, "a horse")["status"] == "applied", 150)


@pytest.mark.llm
@pytest.mark.skipif(
    "avx512f" not in Path("/proc/cpuinfo").read_text(encoding="utf-8").split(),
    reason="beside other tests, the engine answers too late on processors without AVX-512; alone, this passes there",
)
def test_images_do_not_wait_for_the_language_engine_nor_fail_with_it(
    data_with_tiny: Path, stacks: list[Stack], llm_cache: str
) -> None:
    slow = {"PHOTOGRAM_LLM_DEADLINE_S": "30"}  # the engine's first answers take long where others use the cores
    stacks.append(stack := Stack(data_with_tiny, PHOTOGRAM_LLM="auto", PHOTOGRAM_CACHE=llm_cache, **slow))
    assert stack.ready == f"ready {stack.url}"

    def said() -> list[str]:
        return [line for line in stack.errors if "language engine" in line]

    with stack.client() as client:
        client.generate("a cat")
    assert said() == []
    until(said, 150)
    assert [line.startswith("language engine ready after ") for line in said()] == [True]
    until(lambda: rewritten(stack, "a cat")["status"] == "applied", 120)
    kill_the_engine_under_load(stack)
    everyone = stack.family()
    assert len(engine := engine_of(stack)) >= 4
    assert not shared_memory(engine), "a worker within its engine has none, so none can be left"
    assert stack.stop() == 0
    assert psutil.wait_procs(everyone, timeout=10)[1] == []


@pytest.mark.llm
def test_a_killed_supervisor_leaves_no_engine_that_was_just_starting(
    data_with_tiny: Path, stacks: list[Stack], llm_cache: str
) -> None:
    stacks.append(stack := Stack(data_with_tiny, PHOTOGRAM_LLM="auto", PHOTOGRAM_CACHE=llm_cache))
    until(lambda: len(engine_of(stack)) >= 4, 150)  # guard, server, helper, and the engine that they lead to
    everyone = stack.family()
    stack.process.kill()
    assert psutil.wait_procs(everyone, timeout=15)[1] == []
