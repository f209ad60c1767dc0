"""Prodia's v2 with a worker that draws, as hand-written clients speak it: raw bytes, pollers, and a cut connection."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from models.jobs.records import JobRecord
from models.media import png
from tests.contract.prodia_v2.conftest import Service, opened

APPLE = {"type": "inference.sd15.txt2img.v1", "config": {"prompt": "a red apple", "steps": 2, "seed": 7}}
BOUNDARY = "----OpenClaw1a2b"


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {service.key}"}
    with httpx.Client(base_url=service.base, headers=headers, timeout=60) as client:
        yield client


def hand_made(*parts: tuple[str, str, bytes]) -> dict[str, Any]:
    """A form put together by hand, of name, filename and bytes, every part with the same wrong label."""
    body = b""
    for name, filename, data in parts:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        body += head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n"
    body += f"--{BOUNDARY}--\r\n".encode()
    return {"content": body, "headers": {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}}


def test_the_same_job_gives_the_same_image_in_every_form(client):
    images = [
        opened(client.post("/job", json=APPLE, headers={"Accept": accept}).content)
        for accept in ("image/png", "image/jpeg", "image/webp")
    ]
    whole = images[0].convert("RGB").tobytes()
    for image in images[1:]:
        assert image.size == (128, 128)
        pairs = zip(whole, image.convert("RGB").tobytes(), strict=True)
        assert sum(abs(one - other) for one, other in pairs) / len(whole) < 6
    assert "Seed: 7," in images[0].info["parameters"]


def test_every_format_carries_its_parameters(client):
    for accept in ("image/png", "image/jpeg", "image/webp"):
        answer = client.post("/job", json=APPLE, headers={"Accept": accept})
        parameters, _ = png.read_texts(answer.content)
        assert parameters.startswith("a red apple") and "Seed: 7," in parameters and "Model: paint" in parameters


def test_a_form_made_by_hand_with_a_job_named_blob_before_its_input(client, disc):
    job = json.dumps({"type": "inference.sd15.img2img.v1", "config": {"prompt": "a cat", "steps": 2}}).encode()
    answer = client.post("/job", **hand_made(("job", "blob", job), ("input", "", disc)))
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
    assert opened(answer.content).size == (128, 128)


def test_a_form_made_by_hand_with_named_images_in_another_order(client, disc, left_half):
    config = {"prompt": "a cat", "steps": 2, "images": ["photo.png", "mask.png"]}
    job = json.dumps({"type": "inference.sd15.inpainting.v1", "config": config}).encode()
    parts = [("input", "mask.png", left_half), ("job", "job.json", job), ("input", "photo.png", disc)]
    form = hand_made(*parts)
    form["headers"] |= {"Accept": "image/png"}
    drawn = opened(client.post("/job", **form).content)
    started_from = opened(disc).resize((128, 128))
    assert drawn.size == (128, 128)
    right = [abs(a - b) for a, b in zip(drawn.crop((110, 0, 128, 128)).tobytes(),
                                        started_from.crop((110, 0, 128, 128)).tobytes(), strict=True)]  # fmt: skip
    assert sum(right) / len(right) < 16  # where the mask is dark, the image is the old one


def test_a_poller_that_asks_for_the_file(client, disc):
    asked = {"type": "inference.upscale.v1", "config": {"image": "a.png", "scale": 2}, "name": "upscale_2x"}
    parts = [("input", ("a.png", disc)), ("job", ("job.json", json.dumps(asked).encode()))]
    answer = client.post("/job/async?price=true", files=parts, headers={"Accept": "application/json"})
    assert answer.status_code == 201 and answer.json()["price"]["dollars"] == 0
    base = f"/job/async/{answer.json()['id']}"
    deadline = time.monotonic() + 30
    while (state := client.get(f"{base}/job.state.current").text.strip()) != "processed":
        assert state == "processing" and time.monotonic() < deadline
        time.sleep(0.1)
    (name,) = client.get(f"{base}/output").json()
    assert opened(client.get(f"{base}/output/{name}").content).size == (256, 192)
    job = client.get(f"{base}/job.json?price=true").json()
    assert job["price"]["product"] == "inference.upscale.v1" and job["metrics"]["elapsed"] >= 0
    assert job["config"] == {"image": "a.png", "scale": 2, "upscaler": "Lanczos"}


def test_sdxl_draws_with_the_catalogs_model(client):
    asked = {"type": "inference.sdxl.txt2img.v1", "config": {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}}
    answer = client.post("/job", json=asked, headers={"Accept": "image/png"})
    assert "Model: tiny-xl" in opened(answer.content).info["parameters"]


def test_a_client_that_cuts_the_connection_stops_the_drawing(service):
    asked = {"type": "inference.sd15.txt2img.v1", "config": {"prompt": "cut", "steps": 1000, "sampler": "DDIM"}}
    url, body = httpx.URL(service.url), json.dumps(asked).encode()
    head = (
        f"POST /v2/job HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(head.encode() + body)
        assert wait_until(service, lambda record: record.status == "running" and record.step > 0)
    assert wait_until(service, lambda record: record.status == "canceled")


def wait_until(service: Service, is_so: Callable[[JobRecord], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = service.newest_job(lambda record: getattr(record.params, "prompt", "") == "cut")
        if found is not None and is_so(found):
            return True
        time.sleep(0.1)
    return False
