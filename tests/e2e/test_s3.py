"""``photogram up`` with its images in S3: nothing is on its disk, and a service that is down or slow costs no job."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.e2e.conftest import CATALOG, KEY, Stack
from tests.polling import until
from tests.s3 import S3Server, s3_server

HEADERS = {"Authorization": f"Bearer {KEY}"}
STEPS = {"num_inference_steps": 60, "sampler": "DDIM"}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture(scope="module")
def stack(s3: S3Server, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Stack]:
    """A service with its images in the bucket."""
    data = tmp_path_factory.mktemp("in-s3")
    (data / "catalog.toml").write_text(CATALOG.format(folder=tiny_folder))
    started = Stack(data, **s3.variables)
    try:
        yield started
        assert stored_locally(data) == [] and tracebacks(started) == []
        assert started.stop() == 0
    finally:
        started.close()


@pytest.fixture
def empty_bucket(s3: S3Server, stack: Stack) -> None:
    """A test begins with storage that works, and without the jobs and images of the test before it."""
    s3.is_broken, s3.delay_s = False, 0.0
    assert httpx.delete(f"{stack.url}/v1/jobs", params={"all": "true"}, headers=HEADERS, timeout=20).status_code == 200
    until(lambda: s3.objects("images") == [])


def png() -> bytes:
    buffer = BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def stored_locally(data: Path) -> list[str]:
    return [folder for folder in ("images", "files", "inputs") if (data / folder).exists()]


def status(stack: Stack, path: str = "/readyz") -> int:
    return httpx.get(f"{stack.url}{path}", timeout=20).status_code


def tracebacks(stack: Stack) -> list[str]:
    return [line for line in stack.errors if "Traceback" in line]


@pytest.mark.usefixtures("empty_bucket")
def test_the_life_of_a_job(s3: S3Server, stack: Stack) -> None:
    with stack.client() as client, httpx.Client(base_url=stack.url, headers=HEADERS, timeout=20) as http:
        inputs = len(s3.objects("inputs"))
        job = client.generate("a cat", seed=1).job
        image = job.result.images[0]
        url = httpx.URL(image.url).path
        image_id = Path(url).stem
        assert s3.objects("images") == [f"{image_id[:2]}/{image_id}.png"]
        answer = http.get(url)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert "immutable" in answer.headers["cache-control"]
        assert http.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        part = http.get(url, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, answer.content[10:20])
        assert http.head(url).headers["content-length"] == str(len(answer.content))
        assert Image.open(BytesIO(http.get(url.replace(".png", ".webp")).content)).size == (64, 64)
        assert http.get(url.replace(image_id, "00000000-0000-4000-8000-000000000000")).status_code == 404
        upload = http.post("/v1/inputs", content=png(), headers={"Content-Type": "image/png"}).json()
        for source in (upload["source"], f"image:{image_id}"):
            body = {"kind": "img2img", "params": {"prompt": "x", "image": source}}
            changed = http.post("/v1/jobs", json=body).json()
            assert client.jobs.wait(changed["id"], timeout_s=60).status == "succeeded"
    assert len([name for name in s3.objects("images") if name.endswith(".png")]) == 3
    assert len(s3.objects("inputs")) == inputs + 1 and tracebacks(stack) == []


@pytest.mark.usefixtures("empty_bucket")
def test_a_service_that_is_down_for_a_while_costs_no_job(s3: S3Server, stack: Stack) -> None:
    body = {"kind": "txt2img", "params": {"prompt": "x"}}
    with stack.client() as client, httpx.Client(base_url=stack.url, headers=HEADERS, timeout=20) as http:
        upload = http.post("/v1/inputs", content=png(), headers={"Content-Type": "image/png"}).json()
        jobs = [client.submit(f"image {number}", **STEPS) for number in range(5)]
        changing = {"kind": "img2img", "params": {"prompt": "x", "image": upload["source"]}}
        jobs += [client.jobs.get(http.post("/v1/jobs", json=changing).json()["id"])]
        s3.kill()
        until(lambda: status(stack) == 503)
        ready = http.get("/readyz").json()
        assert (ready["code"], ready["detail"]) == (
            "storage_unavailable", "the S3 storage cannot be used: it cannot be reached",
        )  # fmt: skip
        refused = [http.post("/v1/jobs", json=body), http.post("/v1/inputs", content=png())]
        refused.append(http.get("/images/00000000-0000-4000-8000-000000000000.png"))
        assert [(each.status_code, each.json()["code"]) for each in refused] == [(503, "storage_unavailable")] * 3
        threading.Event().wait(10.0)  # the executions of the worker expire meanwhile
        assert [client.jobs.get(job.id).status for job in jobs].count("failed") == 0
        s3.start()
        ended = [client.jobs.wait(job.id, timeout_s=120) for job in jobs]
        assert {job.status for job in ended} == {"succeeded"}, [job.error for job in ended]
        images = [image for job in ended for image in job.result.images]
        assert {http.get(httpx.URL(image.url).path).status_code for image in images} == {200}
        until(lambda: status(stack) == 200)
    assert len(images) == len(s3.objects("images")) == 6, "none twice"
    assert tracebacks(stack) == []


@pytest.mark.usefixtures("empty_bucket")
def test_a_worker_that_is_killed_while_the_service_is_down_loses_nothing(s3: S3Server, stack: Stack) -> None:
    with stack.client() as client:
        client.generate("warm")
        s3.is_broken, said_before = True, len(stack.errors)
        jobs = [client.submit(f"image {number}") for number in range(3)]
        until(lambda: any("is kept, because its end cannot be written" in line for line in stack.errors[said_before:]))
        for worker in stack.workers():
            os.kill(worker.pid, signal.SIGKILL)
        threading.Event().wait(3.0)
        assert {client.jobs.get(job.id).status for job in jobs} <= {"queued", "running"}
        s3.is_broken = False
        assert {client.jobs.wait(job.id, timeout_s=120).status for job in jobs} == {"succeeded"}
    assert len(s3.objects("images")) == 4 and tracebacks(stack) == []


@pytest.mark.usefixtures("empty_bucket")
def test_a_slow_service_delays_only(s3: S3Server, stack: Stack) -> None:
    with stack.client() as client:
        client.generate("warm")
        s3.delay_s = 1.0
        jobs = [client.submit(f"image {number}") for number in range(4)]
        began_at = time.monotonic()
        assert status(stack, "/healthz") == 200 and time.monotonic() - began_at < 0.5
        assert {client.jobs.wait(job.id, timeout_s=120).status for job in jobs} == {"succeeded"}
    assert len(s3.objects("images")) == 5 and tracebacks(stack) == []


def links_lead_to_the_bucket(s3: S3Server, stack: Stack) -> None:
    with stack.client() as client:
        result = client.generate("a cat")
        url = stack.url + httpx.URL(result.job.result.images[0].url).path
    answer = httpx.get(url)
    assert answer.status_code == 307 and answer.headers["location"].startswith(s3.url)
    assert httpx.get(answer.headers["location"]).content == result.data
    assert httpx.get(url, params={"download": "1"}).headers["content-disposition"].startswith("attachment")
    assert httpx.get(url.replace(".png", ".jpg")).status_code == 200


def test_a_start_without_a_bucket_says_so_once_and_waits_and_links_may_lead_to_the_bucket(
    data_with_tiny: Path, stacks: list[Stack], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with s3_server(tmp_path_factory.mktemp("s3")) as s3:
        variables = s3.variables | {"PHOTOGRAM_STORAGE": "s3://made-later", "PHOTOGRAM_STORAGE_DOWNLOADS": "redirect"}
        stacks.append(stack := Stack(data_with_tiny, awaited=False, **variables))
        problem = "not ready yet: the S3 storage cannot be used: there is no such"
        until(lambda: any(problem in line for line in stack.errors))
        s3.make_bucket("made-later")
        stack.wait_until_ready()
        assert stack.ready == f"ready {stack.url}" and tracebacks(stack) == []
        assert len([line for line in stack.errors if problem in line]) == 1
        links_lead_to_the_bucket(s3, stack)
