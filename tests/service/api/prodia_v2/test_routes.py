"""Prodia's v2 over HTTP: forms of requests, answers and errors, the asynchronous calls, and clients that go away."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from email import message_from_bytes
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image as Image
from redis import Redis

from models.errors import InputUnavailable, ModelUnavailable
from models.jobs.kinds import DIFFUSION_QUEUE
from service.api.app import create_app
from service.backbone.keyspace import record_key, workers_key
from service.backbone.settings import Settings
from service.backbone.turns import Turns
from tests.service.api.conftest import EXECUTION, Hand
from tests.waiting import waiting_jobs

TXT2IMG = "inference.photogram.txt2img.v1"
APPLE: dict[str, Any] = {"type": TXT2IMG, "config": {"prompt": "a red apple", "steps": 4, "seed": 42}}
PING = {"type": "inference.ping.v1"}


@pytest.fixture(autouse=True)
def capacity(redis: Redis) -> None:
    """A worker that is said to be there."""
    redis.zadd(workers_key(), {"worker": time.time()})


@pytest.fixture
def busy(redis: Redis, worker: Hand) -> Iterator[None]:
    """A worker that draws whatever is queued."""
    stop, turns = threading.Event(), Turns(redis, DIFFUSION_QUEUE)

    def draw() -> None:
        while not stop.wait(0.01):
            job_id = turns.take()
            if job_id is not None:
                worker.draw(job_id)

    thread = threading.Thread(target=draw)
    thread.start()
    yield
    stop.set()
    thread.join()


def form(job: object, *inputs: tuple[str, bytes]) -> dict[str, Any]:
    """A form, as an argument of httpx's ``files``."""
    files = [("input", (name, data, "image/jpeg")) for name, data in inputs]
    return {"files": [*files, ("job", ("job.json", json.dumps(job).encode(), "application/json"))]}


def parts_of(answer: httpx.Response) -> dict[str, Any]:
    """The parts of a form, read by Python's own parser for mail: name to headers and bytes."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + answer.content)
    assert message.get_content_type() == "multipart/form-data" and not message.defects
    return {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}


def job_of(answer: httpx.Response) -> dict[str, Any]:
    return json.loads(parts_of(answer)["job"].get_payload(decode=True))


def first_queued(redis: Redis) -> str:
    deadline = time.monotonic() + 10
    while not (found := waiting_jobs(redis)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found[0]


@pytest.mark.parametrize("body", [{"json": APPLE}, form(APPLE)], ids=["json", "form"])
@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("multipart/form-data", "image/jpeg"),
        ("multipart/form-data; image/png", "image/png"),
        ("multipart/form-data; image/webp", "image/webp"),
    ],
)
def test_a_form_has_the_job_and_the_image(client, busy, body, accept, media_type):
    answer = client.post("/v2/job?price=true", headers={"Accept": accept}, **body)
    assert answer.status_code == 200
    boundary = answer.headers["content-type"].partition("boundary=")[2]
    assert boundary.isascii() and '"' not in boundary
    assert answer.content.startswith(f"--{boundary}\r\n".encode()) and answer.content.endswith(b"--\r\n")
    parts = parts_of(answer)
    assert list(parts) == ["job", "output"]
    assert parts["job"].get_filename() == "job.json" and parts["output"].get_content_type() == media_type
    assert parts["output"].get_filename() == {"jpeg": "output.jpg"}.get(media_type[6:], f"output.{media_type[6:]}")
    image = Image.open(BytesIO(parts["output"].get_payload(decode=True)))
    assert image.get_format_mimetype() == media_type and image.size == (128, 128)
    job = job_of(answer)
    assert job["config"] == {"prompt": "a red apple", "steps": 4, "seed": 42, "model": "house"}
    assert job["price"] == {"product": TXT2IMG, "dollars": 0}
    assert b"null" not in parts["job"].get_payload(decode=True)
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("image/jpeg", "image/jpeg"), ("image/png", "image/png"), ("image/webp", "image/webp"),
        ("image/jpg", "image/jpeg"),
        ("*/*", "image/jpeg"), ("", "image/jpeg"), ("image/*", "image/jpeg"), ("image/png, */*;q=0.1", "image/png"),
        ("image/webp;q=0.2, image/png;q=0.9", "image/png"), ("video/mp4, image/png", "image/png"),
        ("image/jpeg;q=0, image/webp", "image/webp"),
    ],
)  # fmt: skip
def test_an_image_comes_alone_for_who_asks_for_one(client, busy, accept, media_type):
    answer = client.post("/v2/job", json=APPLE, headers={"Accept": accept})
    assert answer.status_code == 200 and answer.headers["content-type"] == media_type
    assert Image.open(BytesIO(answer.content)).get_format_mimetype() == media_type


def test_no_accept_header_at_all_gets_the_image(client, busy):
    request = client.build_request("POST", "/v2/job", json=APPLE)
    del request.headers["accept"]
    answer = client.send(request)
    assert answer.headers["content-type"] == "image/jpeg" and answer.content[:2] == b"\xff\xd8"


def test_the_jobs_own_accept_says_what_the_header_leaves_open(client, busy):
    assert client.post("/v2/job", json=APPLE | {"accept": "image/png"}).headers["content-type"] == "image/png"
    asked = client.post("/v2/job", json=APPLE | {"accept": "image/png"}, headers={"Accept": "image/webp"})
    assert asked.headers["content-type"] == "image/webp"


def test_json_is_the_job_without_its_image(client, busy):
    answer = client.post("/v2/job", json=APPLE | {"name": "mine"}, headers={"Accept": "application/json"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    job = answer.json()
    assert uuid.UUID(job["id"]).version == 4 and job["type"] == TXT2IMG and "price" not in job and "error" not in job
    assert job["state"]["current"] == "processed" and job["state"]["history"][-1]["message"] == "processed"
    assert job["created_at"] < job["updated_at"] < job["expires_at"] and job["expires_at"].endswith("Z")
    assert job["metrics"]["elapsed"] >= 0 and job["metrics"]["ips"] > 0
    assert "warnings" not in job


def test_a_jpeg_is_progressive_on_request(client, busy):
    asked = {"type": TXT2IMG, "config": {"prompt": "x", "progressive": True}}
    answer = client.post("/v2/job", json=asked, headers={"Accept": "image/jpeg"})
    assert "progressive" in Image.open(BytesIO(answer.content)).info
    plain = client.post("/v2/job", json=APPLE, headers={"Accept": "image/jpeg"})
    assert "progressive" not in Image.open(BytesIO(plain.content)).info


def test_a_seed_that_was_left_open_is_told(client, busy):
    asked = {"type": TXT2IMG, "config": {"prompt": "x", "seed": -1}}
    seed = client.post("/v2/job", json=asked, headers={"Accept": "application/json"}).json()["config"]["seed"]
    assert isinstance(seed, int) and seed >= 0


@pytest.mark.parametrize("accept", ["multipart/form-data", "application/json", "image/png", "*/*"])
def test_ping_is_answered_at_once(client, accept):
    answer = client.post("/v2/job?price=true", json=PING, headers={"Accept": accept})
    job = job_of(answer) if accept.startswith("multipart") else answer.json()
    assert answer.status_code == 200 and job["state"]["current"] == "processed" and job["price"]["dollars"] == 0


def test_a_wrong_token_is_told_in_text(anonymous):
    for headers in (
        {},
        {"Authorization": "Bearer " + 4000 * "x"},
        {"X-Prodia-Key": "x"},
        {"Authorization": "Basic eDp5"},
    ):
        answer = anonymous.post("/v2/job", **form(APPLE), headers=headers)
        assert (answer.status_code, answer.text) == (401, "token is invalid")
        assert answer.headers["content-type"].startswith("text/plain")


def test_only_a_bearer_token_opens(anonymous, key):
    assert anonymous.post("/v2/job", json=PING, headers={"X-API-Key": key}).status_code == 401
    assert anonymous.post("/v2/job", json=PING, headers={"Authorization": f"bearer {key}"}).status_code == 200


def test_errors_come_in_the_requests_own_form(client, queued):
    wrong = {"type": TXT2IMG, "config": {"prompt": "x", "steps": 1000}}
    told = "steps: maximum: got 1,000, want 150 (must be from 1 to 150)"
    answer = client.post("/v2/job", **form(wrong), headers={"Accept": "multipart/form-data; image/png"})
    assert answer.status_code == 400 and list(parts_of(answer)) == ["job"]
    job = job_of(answer)
    assert job["error"] == told and job["id"] == answer.headers["x-request-id"]
    for accept in ("*/*", "multipart/form-data, application/json"):
        assert job_of(client.post("/v2/job", **form(wrong), headers={"Accept": accept}))["error"] == told
    for accept in ("application/json", "image/png"):
        answer = client.post("/v2/job", **form(wrong), headers={"Accept": accept})
        assert (answer.status_code, answer.json()) == (400, {"error": told})
    answer = client.post("/v2/job", json=wrong, headers={"Accept": "multipart/form-data; image/png"})
    assert (answer.status_code, answer.json()) == (400, {"error": told})
    sdk = {"Accept": "multipart/form-data", "User-Agent": "ai/6.0.0 ai-sdk/prodia/1.0.50"}
    assert client.post("/v2/job", **form(wrong), headers=sdk).json() == {"error": told}
    assert queued() == 0


@pytest.mark.parametrize("path", ["/v2/job", "/v2/job/async"])
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"json": {"config": {"prompt": "x"}}}, "type: is required"),
        ({"json": {"type": 5}}, "type: must be a valid string"),
        ({"json": {"type": TXT2IMG, "config": []}}, "config: must be an object"),
        ({"json": {"type": TXT2IMG}}, "prompt: is required"),
        ({"json": []}, "body: must be an object"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, "the body cannot be read"),
        ({"content": b"{}"}, "must be sent as application/json"),
        ({"data": {"job": "{}"}}, "must be sent as application/json"),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, "cannot be read as"),
        ({"files": [("input", ("a.png", b"x"))]}, "job: must come once"),
        ({"files": [("job", ("job.json", b"{}")), ("job", ("job.json", b"{}"))]}, "job: must come once"),
        ({"files": [("job", ("job.json", b"\xff"))]}, "it is not UTF-8"),
        ({"json": {"type": "inference.sd15.txt2img.v9"}}, "unknown job type 'inference.sd15.txt2img.v9'; there are"),
        ({"json": {"type": "inference.veo.fast.txt2vid.v1"}}, "Photogram draws images, not videos"),
        ({"json": {"type": "inference.recraft.txt2vec.v1"}}, "not vector graphics"),
        ({"json": {"type": "inference.nano-banana.img2img.v2"}}, "only its maker has the weights"),
        ({"json": {"type": "inference.birefnet.segment.v1"}}, "not available: Photogram has no segmentation model"),
        ({"json": {"type": "inference.remove-background.v1"}}, "not available: Photogram has no segmentation model"),
        ({"json": {"type": "inference.flux-2.klein.4b.txt2img.v1"}}, "no pipeline for this model"),
        ({"json": {"type": "inference.faceswap.v1", "config": {}}}, "face swap is not available"),
        ({"json": {"type": "inference.sdxl.txt2img.v1", "config": {"prompt": "x"}}}, "no model of the family sdxl"),
        ({"json": {"type": "inference.flux.dev.txt2img.v2", "config": {"prompt": "x"}}}, "no model of the family flux"),
        ({"json": APPLE, "headers": {"Accept": "video/mp4"}}, "Accept: must name one of multipart/form-data"),
        ({"json": APPLE, "headers": {"Accept": "multipart/form-data; video/mp4"}}, "'multipart/form-data; video/mp4'"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_the_reason(client, queued, path, body, told):
    answer = client.post(path, **body)
    assert answer.status_code == 400
    is_form = answer.headers["content-type"].startswith("multipart/form-data")
    assert is_form is ("files" in body or body.get("content") == b"--x")
    assert told in (job_of(answer) if is_form else answer.json())["error"]
    assert queued() == 0


def test_a_ping_is_not_asynchronous(client):
    answer = client.post("/v2/job/async", json=PING)
    assert answer.status_code == 400 and "not processed asynchronously" in answer.json()["error"]


def test_a_query_that_makes_no_sense_and_a_route_that_is_not_there(client):
    answer = client.post("/v2/job?price=perhaps", json=PING)
    assert answer.status_code == 400 and answer.json()["error"].startswith("price: ")
    assert client.get("/v2/job/async/x/nothing").json() == {"error": "there is no such route"}
    assert client.get("/v2/job").status_code == 405


def test_nobody_waits_where_there_is_no_worker(client, redis, queued):
    redis.delete(workers_key())
    for path, asked in (("/v2/job", APPLE), ("/v2/job/async", APPLE), ("/v2/job", PING)):
        answer = client.post(path, json=asked)
        assert answer.status_code == 429 and answer.headers["retry-after"] == "5"
        assert answer.json()["error"].startswith("no capacity")
    assert job_of(client.post("/v2/job", **form(APPLE)))["error"].startswith("no capacity")
    assert queued() == 0


def test_a_full_queue_is_a_matter_of_capacity(serve, valkey_url, key, tmp_path):
    settings = Settings(redis_url=valkey_url, data=tmp_path, max_queued=1)
    headers = {"Authorization": f"Bearer {key}"}
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, headers=headers) as client:
        assert client.post("/v2/job/async", json=APPLE).status_code == 201
        answer = client.post("/v2/job", json=APPLE)
        assert (
            answer.status_code == 429 and answer.headers["retry-after"] == "5" and "waiting" in answer.json()["error"]
        )


def test_a_body_that_is_too_large(client):
    answer = client.post("/v2/job", **form(APPLE, ("big.jpg", 200_000 * b"x")))
    assert answer.status_code == 413 and "100000 bytes" in answer.json()["error"]


def created(client: httpx.Client, **more: Any) -> str:
    answer = client.post("/v2/job/async", json=APPLE | more)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_an_asynchronous_job_from_its_start_to_its_file(client, worker):
    answer = client.post("/v2/job/async?price=true", **form(APPLE), headers={"Accept": "application/json"})
    assert answer.status_code == 201 and answer.headers["content-type"] == "application/json"
    job = answer.json()
    assert job["price"]["dollars"] == 0 and job["state"]["current"] == "processing" and job["metrics"] == {}
    base = f"/v2/job/async/{job['id']}"
    state = client.get(f"{base}/job.state.current")
    assert state.text == "processing" and state.headers["content-type"].startswith("text/plain")
    assert client.get(f"{base}/output").json() == []
    worker.start(job["id"])
    assert client.get(f"{base}/job.state.current").text == "processing"
    worker.succeed(job["id"])
    assert client.get(f"{base}/job.state.current").text == "processed"
    (name,) = client.get(f"{base}/output").json()
    file = client.get(f"{base}/output/{name}")
    assert name == "output.jpg" and file.headers["content-type"] == "image/jpeg" and file.content[:2] == b"\xff\xd8"
    assert client.get(f"{base}/output/output.png").status_code == 404
    told = client.get(f"{base}/job.json").json()
    assert told["type"] == TXT2IMG and told["config"]["seed"] == 42 and "price" not in told
    assert client.get(f"{base}/job.json?price=true").json()["price"]["product"] == TXT2IMG
    assert client.get(f"/v2/job/{job['id']}").json() == told


@pytest.mark.parametrize(
    ("headers", "more", "name"),
    [
        ({"Accept": "image/png"}, {}, "output.png"),
        ({"Accept": "multipart/form-data; image/webp"}, {}, "output.webp"),
        ({"Accept": "application/json"}, {"accept": "image/png"}, "output.png"),
    ],
)
def test_an_asynchronous_jobs_file_has_the_format_that_was_asked_for(client, worker, headers, more, name):
    job_id = client.post("/v2/job/async", json=APPLE | more, headers=headers).json()["id"]
    worker.draw(job_id)
    assert client.get(f"/v2/job/async/{job_id}/output").json() == [name]


def test_a_failed_job_says_why(client, worker):
    job_id = created(client)
    worker.start(job_id)
    worker.fail(job_id)
    assert client.get(f"/v2/job/async/{job_id}/job.state.current").text == "failed"
    job = client.get(f"/v2/job/async/{job_id}/job.json").json()
    assert "the image is all" in job["error"] and job["state"]["history"][-1]["message"] == job["error"]
    assert client.get(f"/v2/job/async/{job_id}/output").json() == []
    assert client.get(f"/v2/job/async/{job_id}/output/output.jpg").status_code == 404


def test_jobs_of_others_and_of_nobody_are_not_found(client, stranger, key):
    job_id = created(client)
    headers = {"Authorization": "Bearer " + stranger.headers["x-api-key"]}
    for suffix in ("/job.state.current", "/job.json", "/output", "/output/output.jpg"):
        assert client.get(f"/v2/job/async/{job_id}{suffix}", headers=headers).status_code == 404
        answer = client.get(f"/v2/job/async/{uuid.uuid4()}{suffix}")
        assert (answer.status_code, answer.json()) == (404, {"error": "there is no such job"})
        assert client.get(f"/v2/job/async/{job_id}{suffix}", headers={"Authorization": ""}).status_code == 401


def test_jobs_of_other_dialects_can_be_read(client, new_job, worker):
    job_id = new_job(num_inference_steps=3)
    worker.draw(job_id)
    job = client.get(f"/v2/job/{job_id}").json()
    assert job["type"] == TXT2IMG and job["config"]["num_inference_steps"] == 3 and job["config"]["model"] == "house"
    assert client.get(f"/v2/job/async/{job_id}/output").json() == ["output.png"]


FAILURES = {
    "input": (lambda hand, job_id: hand.ledger.fail(job_id, EXECUTION, InputUnavailable("404")), 400, "404"),
    "model": (lambda hand, job_id: hand.ledger.fail(job_id, EXECUTION, ModelUnavailable("no file")), 500, "no file"),
}


@pytest.mark.parametrize("body", [{"json": APPLE}, form(APPLE)], ids=["json", "form"])
@pytest.mark.parametrize(("end", "status", "told"), FAILURES.values(), ids=FAILURES)
def test_a_job_that_fails_while_its_client_waits(client, redis, worker, body, end, status, told):
    def fail() -> None:
        job_id = first_queued(redis)
        worker.start(job_id)
        end(worker, job_id)

    thread = threading.Thread(target=fail)
    thread.start()
    answer = client.post("/v2/job", headers={"Accept": "multipart/form-data"}, **body)
    thread.join()
    is_form = status == 400 and "files" in body
    job = job_of(answer) if is_form else answer.json()
    assert (answer.status_code, job["error"], job["state"]["current"]) == (status, told, "failed")
    assert uuid.UUID(job["id"])


def test_a_job_that_is_canceled_while_its_client_waits(client, redis):
    thread = threading.Thread(target=lambda: client.post(f"/v1/jobs/{first_queued(redis)}/cancel"))
    thread.start()
    answer = client.post("/v2/job", json=APPLE)
    thread.join()
    assert (answer.status_code, answer.json()["error"]) == (400, "the job was canceled")


def test_a_job_whose_record_is_lost_while_its_client_waits(client, redis):
    thread = threading.Thread(target=lambda: redis.delete(record_key(first_queued(redis))))
    thread.start()
    answer = client.post("/v2/job", json=APPLE)
    thread.join()
    assert (answer.status_code, answer.json()["error"]) == (404, "there is no such job")


def test_an_image_that_is_lost(client, worker, server_data):
    job_id = created(client)
    worker.draw(job_id)
    image_id = worker.ledger.read(job_id).image_id
    next((server_data / "images").rglob(f"{image_id}.png")).unlink()
    answer = client.get(f"/v2/job/async/{job_id}/output/output.jpg")
    assert (answer.status_code, answer.json()["error"]) == (404, "the image is not there any more")


@pytest.mark.parametrize("is_running", [False, True], ids=["queued", "running"])
def test_a_client_that_goes_away_cancels_its_job(server_url, key, redis, worker, is_running):
    address = httpx.URL(server_url)
    body = json.dumps(APPLE).encode()
    head = (
        f"POST /v2/job HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.host, address.port)) as connection:
        connection.sendall(head.encode() + body)
        job_id = first_queued(redis)
        if is_running:
            worker.start(job_id)
        time.sleep(0.2)
        assert worker.ledger.read(job_id).status == ("running" if is_running else "queued")
    deadline = time.monotonic() + 5
    while not is_given_up(worker, job_id, is_running):
        assert time.monotonic() < deadline, worker.ledger.read(job_id)
        time.sleep(0.05)


def is_given_up(worker: Hand, job_id: str, is_running: bool) -> bool:
    record = worker.ledger.read(job_id)
    return record.is_cancel_requested if is_running else record.status == "canceled"


def test_the_types_are_listed_with_what_they_lack(client):
    types = {each["type"]: each for each in client.get("/v2/types").json()["types"]}
    assert types["inference.sd15.img2img.v1"] == {
        "type": "inference.sd15.img2img.v1", "inputs": ["image"], "model": "house", "is_async": True, "problem": None,
    }  # fmt: skip
    assert "sdxl" in types["inference.sdxl.txt2img.v1"]["problem"] and types["inference.upscale.v1"]["problem"] is None
    assert "RealESRGAN_x4plus" in types["inference.resrgan.upscale.v1"]["problem"]
    assert "weights" in types["inference.facerestore.upscale.v1"]["problem"]
    assert "licensed" in types["inference.faceswap.v1"]["problem"]
    assert types["inference.ping.v1"]["is_async"] is False
