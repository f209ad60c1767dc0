"""OpenAI's dialect at its edges: what is refused and how, and what becomes of jobs whose client has left."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from io import BytesIO

import httpx
import pytest
from PIL import Image as Image
from redis import Redis

from models.errors import InputUnavailable
from models.jobs.records import JobStatus
from service.api.app import create_app
from service.backbone.settings import Settings
from tests.service.api.conftest import EXECUTION
from tests.waiting import waiting_jobs

GENERATIONS, EDITS, VARIATIONS = "/v1/images/generations", "/v1/images/edits", "/v1/images/variations"
QUEUE_KEY = "rq:queue:photogram"


def png(mode: str = "RGB", size: tuple[int, int] = (64, 48), fill: object = 0) -> bytes:
    buffer = BytesIO()
    Image.new(mode, size, fill).save(buffer, "PNG")
    return buffer.getvalue()


OPAQUE, CLEAR = png("RGBA", fill=(9, 9, 9, 255)), png("RGBA", fill=(9, 9, 9, 0))


def error_of(answer: httpx.Response, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert list(document) == ["error"] and set(document["error"]) == {"message", "type", "param", "code"}
    return document["error"]


GENERATE_REFUSED = {
    "no prompt": ({}, "prompt", "missing_required_parameter"),
    "half a surrogate pair": ({"prompt": "\ud800"}, "prompt", "invalid_value"),
    "a list": ([], "body", "invalid_value"),
    "a text as a number": ({"prompt": "x", "n": "one"}, "n", "invalid_value"),
    "a boolean as a number": ({"prompt": "x", "n": True}, "n", "invalid_value"),
    "no images": ({"prompt": "x", "n": 0}, "n", "invalid_value"),
    "a size too large": ({"prompt": "x", "size": "4096x4096"}, "size", "invalid_value"),
    "a huge size": ({"prompt": "x", "size": "9" * 5000 + "x8"}, "size", "invalid_value"),
    "an unknown quality": ({"prompt": "x", "quality": "best"}, "quality", "invalid_value"),
    "quality and steps": ({"prompt": "x", "quality": "hd", "steps": 3}, "quality", "invalid_value"),
    "steps twice": ({"prompt": "x", "num_inference_steps": 3, "steps": 4}, "steps", "invalid_value"),
    "two styles": ({"prompt": "x", "style": "vivid", "style_preset": "anime"}, "style", "invalid_value"),
    "previews without a stream": ({"prompt": "x", "partial_images": 1}, "partial_images", "invalid_value"),
    "a link in a stream": ({"prompt": "x", "stream": True, "response_format": "url"}, "response_format", None),
    "a link to a jpeg": ({"prompt": "x", "output_format": "jpeg"}, "output_format", None),
    "a compressed png": ({"prompt": "x", "output_compression": 50}, "output_compression", None),
    "an svg": ({"prompt": "x", "output_format": "svg"}, "output_format", None),
    "parts of an svg": ({"prompt": "x", "svg": {"model": "x"}}, "svg", "unsupported_parameter"),
    "a strength": ({"prompt": "x", "strength": 0.5}, "strength", "unknown_parameter"),
    "an unknown LoRA": ({"prompt": "x", "loras": [{"name": "film"}]}, "loras[0].name", "invalid_value"),
    "a seed of more than 64 bits": ({"prompt": "x", "seed": 2**64, "n": 2}, "seed", "invalid_value"),
}


@pytest.mark.parametrize(
    ("sent", "param"),
    [({"quality": "max"}, "quality"), ({"step": 20}, "step"), ({"num_inference_steps": 20}, "num_inference_steps"),
     ({}, "steps")],
)  # fmt: skip
def test_a_refusal_names_the_parameter_that_was_sent(serve, settings: Settings, key: str, sent, param):
    cheap = Settings(redis_url=settings.redis_url, data=settings.data, max_step_px=10_000)
    with serve(create_app(cheap)) as url:
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.post(url + GENERATIONS, json={"prompt": "x", "n": 3, **sent}, headers=headers, timeout=20)
    error = error_of(answer, 400)
    assert error["param"] == param and error["message"].startswith(param)


def test_a_size_beyond_the_limits_is_refused_with_one_sentence(client):
    for sent, param in (({"size": "1x1"}, "size"), ({"width": 1}, "width"), ({"height": 9000}, "height")):
        error = error_of(client.post(GENERATIONS, json={"prompt": "x", **sent}), 400)
        assert error["param"] == param
        assert re.fullmatch(rf"{param}: each side must have from 64 to \d+ pixels for house", error["message"])


@pytest.mark.parametrize("case", GENERATE_REFUSED)
def test_a_refusal_names_the_parameter_and_queues_nothing(client, queued, case):
    body, param, code = GENERATE_REFUSED[case]
    content = json.dumps(body)
    answer = client.post(GENERATIONS, content=content, headers={"Content-Type": "application/json"})
    error = error_of(answer, 400)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code or "invalid_value")
    assert queued() == 0


FORMS_REFUSED = {
    "no image": ({}, "image"),
    "text for an image": ({"image": (None, b"aGk=")}, "image"),
    "no image in it": ({"image": ("x.png", b"hello")}, "image"),
    "half an image": ({"image": ("x.png", OPAQUE[:40])}, "image"),
    "two images and a mask": (
        [("image[]", ("a", OPAQUE)), ("image[]", ("b", CLEAR)), ("mask", ("c", CLEAR))], "mask",
    ),
    "too many equal images": ([("image[]", ("a", OPAQUE))] * 17, "image"),
    "an image twice and a mask": (
        [("image[]", ("a", OPAQUE)), ("image[]", ("b", OPAQUE)), ("mask", ("c", CLEAR))], "mask",
    ),
    "an image and none": ([("image[]", ("a", OPAQUE)), ("image[]", ("b", b"hello"))], "image"),
    "an image and half of one": ([("image[]", ("a", OPAQUE)), ("image[]", ("b", CLEAR[:60]))], "image"),
    "too many images": ([("image[]", ("a", png(size=(64, 48 + number)))) for number in range(17)], "image"),
    "too many pixels together": (
        [("image[]", ("a", png("1", (6000, 5000 - number)))) for number in range(2)], "image",
    ),
    "two prompts": ([("image", ("a", OPAQUE)), ("prompt", (None, b"y"))], "prompt"),
    "a prompt in a file": ({"image": ("a", OPAQUE), "n": ("b", b"1")}, "n"),
    "no text": ({"image": ("a", OPAQUE), "model": (None, b"\xff")}, "model"),
    "a mask without transparency": ({"image": ("a", OPAQUE), "mask": ("b", png())}, "mask"),
    "a mask that is opaque": ({"image": ("a", OPAQUE), "mask": ("b", OPAQUE)}, "mask"),
    "a mask of another size": ({"image": ("a", OPAQUE), "mask": ("b", png("LA", (8, 8)))}, "mask"),
    "a damaged mask": ({"image": ("a", OPAQUE), "mask": ("b", CLEAR[:60])}, "mask"),
    "a markup": ({"image": ("a", OPAQUE), "markup": ("b", CLEAR)}, "markup"),
    "LoRAs that are no JSON": ({"image": ("a", OPAQUE), "loras": (None, b"film")}, "loras"),
    "fidelity and strength": (
        {"image": ("a", OPAQUE), "strength": (None, b"1"), "input_fidelity": (None, b"low")}, "input_fidelity",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FORMS_REFUSED)
def test_a_form_is_refused_by_the_parameter_too(client, queued, case):
    files, param = FORMS_REFUSED[case]
    answer = client.post(EDITS, data={"prompt": "x"}, files=files or {"n": (None, b"1")})
    assert error_of(answer, 400)["param"] == param
    assert queued() == 0


def test_bodies_of_another_sort_are_refused(client):
    assert error_of(client.post(GENERATIONS, data={"prompt": "x"}), 415)["code"] == "unsupported_content_type"
    assert error_of(client.post(EDITS, json={"prompt": "x"}), 415)["code"] == "unsupported_content_type"
    broken = client.post(GENERATIONS, content=b"{", headers={"Content-Type": "application/json"})
    assert error_of(broken, 400)["code"] == "malformed_body"
    no_form = client.post(VARIATIONS, content=b"--x", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert error_of(no_form, 400)["type"] == "invalid_request_error"
    assert error_of(client.post(EDITS, files={"image": ("a", bytes(200_000))}), 413)["code"] == "body_too_large"


def test_routes_and_methods_that_are_not_there_are_told_alike(client, anonymous):
    assert error_of(client.get(GENERATIONS), 405)["code"] == "method_not_supported"
    assert error_of(client.post("/v1/images/none"), 404)["code"] == "not_found"
    assert error_of(client.get("/v1/models/none"), 404)["code"] == "model_not_found"
    assert error_of(anonymous.post(GENERATIONS, json={"prompt": "x"}), 401)["code"] == "invalid_api_key"
    assert error_of(client.post(GENERATIONS, json={"prompt": "x", "model": "none"}), 404)["code"] == "model_not_found"


def test_a_full_queue_is_a_rate_limit_and_takes_all_images_or_none(serve, settings: Settings, key: str, redis: Redis):
    small = Settings(redis_url=settings.redis_url, data=settings.data, max_queued=2)
    with serve(create_app(small)) as url:
        answer = httpx.post(
            url + GENERATIONS, json={"prompt": "x", "n": 3}, headers={"Authorization": f"Bearer {key}"}, timeout=20
        )
    assert error_of(answer, 429)["type"] == "rate_limit_error"
    assert int(answer.headers["retry-after"]) > 0
    assert accepted_jobs(redis) == []


def accepted_jobs(redis: Redis) -> list[str]:
    return [name.decode().split(":")[2] for name in redis.keys("photogram:job:*:events")]


def status_of(job_id: str, redis: Redis) -> str | None:
    status = redis.hget(f"photogram:job:{job_id}", "status")
    return None if status is None else status.decode()


@pytest.mark.parametrize("more", [{}, {"stream": True}])
def test_a_client_that_leaves_cancels_its_jobs(client, redis: Redis, more):
    with (
        pytest.raises(httpx.ReadTimeout),
        client.stream("POST", GENERATIONS, json={"prompt": "x", "n": 2, **more}, timeout=0.5) as answer,
    ):
        answer.read()
    job_ids = accepted_jobs(redis)
    assert len(job_ids) == 2
    deadline = time.monotonic() + 10
    while {status_of(job_id, redis) for job_id in job_ids} != {JobStatus.CANCELED}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_job_that_fails_is_an_error_with_the_reason(client, redis: Redis, worker):
    def fail() -> None:
        while not (job_ids := waiting_jobs(redis)):
            time.sleep(0.02)
        worker.start(job_ids[0])
        worker.fail(job_ids[0])

    thread = threading.Thread(target=fail)
    thread.start()
    error = error_of(answer := client.post(GENERATIONS, json={"prompt": "x"}), 500)
    thread.join()
    assert (error["type"], error["code"]) == ("server_error", "drawing_failed")
    assert "NaN" in error["message"]
    assert answer.headers["x-should-retry"] == "false"


def test_a_job_that_fails_by_its_image_is_the_clients_matter(client, redis: Redis, worker):
    def fail() -> None:
        while not (job_ids := waiting_jobs(redis)):
            time.sleep(0.02)
        worker.start(job_ids[0])
        worker.ledger.fail(job_ids[0], EXECUTION, InputUnavailable("the mask is empty", "mask.image"))

    thread = threading.Thread(target=fail)
    thread.start()
    error = error_of(client.post(GENERATIONS, json={"prompt": "x"}), 400)
    thread.join()
    assert error == {
        "message": "mask: the mask is empty", "type": "invalid_request_error", "param": "mask", "code": "invalid_value",
    }  # fmt: skip


LENIENT = {
    "a number as text": {"n": "1", "seed": "7", "steps": "2", "guidance_scale": "2.5"},
    "a whole number as a float": {"n": 1.0, "seed": 7.0},
    "empty texts": {"model": "", "size": "", "seed": "", "n": "", "user": "", "style_preset": "", "sampler": ""},
    "an empty prompt": {"prompt": ""},
    "names of others": {"model": "openai/default", "step": 2, "width": 128, "height": 120, "cfg_scale": 3},
    "a size with a cross": {"size": "128 × 128"},
    "names in any case": {"model": "House", "sampler": "euler A"},
    "nothing": {"negative_prompt": None, "model": None},
}


@pytest.mark.parametrize("case", LENIENT)
def test_what_real_clients_send_is_taken(client, redis: Redis, worker, case):
    answer = drawn(redis, worker, lambda: client.post(GENERATIONS, json={"prompt": "x", **LENIENT[case]}))
    assert answer.status_code == 200, answer.text


def drawn(redis: Redis, worker, send: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer to a request whose first job is drawn."""

    def draw() -> None:
        while not (job_ids := waiting_jobs(redis)):
            time.sleep(0.02)
        worker.draw(job_ids[0])

    thread = threading.Thread(target=draw)
    thread.start()
    answer = send()
    if answer.status_code != 200:
        redis.rpush(QUEUE_KEY, "nobody")  # ends the thread
    thread.join(5)
    return answer


TWICE = [("image", ("a", OPAQUE)), ("image[]", ("a", OPAQUE))]


@pytest.mark.parametrize("route", [EDITS, VARIATIONS])
def test_the_same_file_under_both_names_is_one_image(client, redis: Redis, worker, route):
    answer = drawn(redis, worker, lambda: client.post(route, data={"prompt": "x"}, files=TWICE))
    assert answer.status_code == 200, answer.text
    again = client.post(VARIATIONS, data={"prompt": "x"}, files=[("image", ("a", OPAQUE))] * 2)
    assert error_of(again, 400)["param"] == "image"


def test_a_file_field_that_a_browser_sends_empty_is_left_out(client, redis: Redis, worker):
    fields = {'prompt"': b"x", 'image"; filename="a"': OPAQUE, 'mask"; filename=""': b"", 'markup"; filename=""': b""}
    parts = (b'--b\r\nContent-Disposition: form-data; name="%s\r\n\r\n%s\r\n' % (head.encode(), data)
             for head, data in fields.items())  # fmt: skip
    body, headers = b"".join(parts) + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}
    answer = drawn(redis, worker, lambda: client.post(EDITS, content=body, headers=headers))
    assert answer.status_code == 200, answer.text


def test_the_list_of_models_serves_both_sorts_of_clients(client):
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["name"] for model in listed["models"]] == [model["id"] for model in listed["data"]] == ["house"]
    assert client.get("/v1/models/house").json() == listed["data"][0]
