"""Requests as clients send them that are older than Prodia's OpenAPI document, or that cannot be installed."""

from __future__ import annotations

import re
import time
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

KEYLESS = {
    "new": "true", "prompt": "a red apple", "model": "Realistic_Vision_V5.0.safetensors [614d1063]",
    "negative_prompt": "", "steps": 2, "cfg": 7.5, "seed": 9_999_999_999_999, "sampler": "Euler",
}  # fmt: skip


@pytest.fixture
def http(service: Any):
    with httpx.Client(headers={"X-Prodia-Key": service.key}, timeout=30) as client:
        yield client


def finished(client: httpx.Client, url: str) -> dict[str, str]:
    """Polls as clients do, which end on anything but 200."""
    while True:
        answer = client.get(url)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        job = answer.json()
        assert job["status"] in ("queued", "generating", "succeeded")
        if job["status"] == "succeeded":
            return job
        time.sleep(0.25)


@pytest.mark.parametrize(
    ("post", "poll"),
    [("/v1/job", "/v1/job/{}"), ("/v1", "/v1/job/{}"), ("/v1/sd/generate", "/v1/sd/generate/job/{}"),
     ("/v1/sdxl/generate", "/v1/sdxl/generate/job/{}")],
)  # fmt: skip
def test_words(service, http, post, poll):
    body = {"model": "dreamshaper_8.safetensors [9d40847d]", "prompt": "a cat"}
    job = http.post(service.url + post, json=body).json()
    image = service.image(finished(http, service.url + poll.format(job["job"])))
    assert image.size == (64, 64) and image.info["parameters"].startswith("a cat\nSteps: 2")


@pytest.mark.parametrize("path", ["/v1/transform", "/v1/sd/inpaint", "/v1/sdxl/inpaint"])
def test_images(service, http, image_data, mask_data, path):
    body = {"prompt": "a cat", "imageData": image_data, "maskData": mask_data, "width": "64", "height": "64"}
    job = http.post(service.url + path, json=body).json()
    assert service.image(finished(http, f"{service.base}/job/{job['job']}")).size == (64, 64)


def test_a_java_client_sends_every_field(service, http):
    """And all numbers as floats; it knows no more than four keys of a job."""
    body = {"prompt": "a cat", "model": None, "negative_prompt": None, "steps": 2.0, "cfg_scale": 7.0, "seed": -1.0,
            "upscale": False, "sampler": None, "aspect_ratio": None, "imageUrl": None}  # fmt: skip
    job = http.post(f"{service.base}/job", json=body, headers={"X-API-USED": "com.danlegt.java"}).json()
    assert set(job) <= {"job", "params", "status", "imageUrl"}
    assert set(finished(http, f"{service.base}/job/{job['job']}")) == {"job", "params", "status", "imageUrl"}


def test_a_client_without_a_key(service):
    """`prodia_api` 0.1.1 and gpt4free: they make the image's address themselves, and grep it for the seed."""
    with httpx.Client(base_url=service.url, timeout=30) as client:
        job_id = client.get("/generate", params=KEYLESS | {"aspect_ratio": "square"}).json()["job"]
        finished(client, f"/job/{job_id}")
        data = client.get(f"/{job_id}.png?download=1").content
    assert Image.open(BytesIO(data)).size == (512, 512)
    found = re.search(rb"Seed: (\d+)", data[:4000])
    assert found is not None and int(found[1]) == KEYLESS["seed"]


def test_lists_that_are_parsed_as_text(service, http):
    for path in ("/models/list", "/sd/models", "/models"):
        answer = http.get(service.base + path)
        assert answer.headers["content-type"] == "text/plain;charset=UTF-8"
        assert answer.text == '["house", "paint", "tiny"]'
