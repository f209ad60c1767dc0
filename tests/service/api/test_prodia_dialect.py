"""Prodia's v1 as its clients know it, the unmodified ``prodiapy`` among them."""

from __future__ import annotations

import json
import threading
import time
import uuid

import httpx
import prodiapy
import pytest
from prodiapy.exceptions import AuthenticationError, FailedJobError, InvalidParameterError

from models.samplers import SAMPLERS
from service.api.app import create_app
from service.backbone.settings import Settings


def generate(client: httpx.Client, **fields: object) -> dict:
    answer = client.post("/v1/sd/generate", json={"prompt": "puppies", **fields})
    assert answer.status_code == 200, (answer.text, answer.headers)
    return answer.json()


def params_of(client: httpx.Client, **fields: object) -> dict:
    return client.get(f"/v1/jobs/{generate(client, **fields)['job']}").json()["params"]


@pytest.mark.parametrize("path", ["/v1/sd/generate", "/v1/job"])
def test_create_answers_200_with_two_keys(client, queued, path):
    answer = client.post(path, json={"prompt": "puppies in a cloud, 4k"})
    job = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert job == {"job": str(uuid.UUID(job["job"], version=4)), "status": "queued"}
    assert queued() == 1


def test_the_four_status_words(client, worker, server_url):
    def shown(job_id: str) -> httpx.Response:
        return client.get(f"/v1/job/{job_id}")

    done, failed, canceled = (generate(client)["job"] for _ in range(3))
    assert shown(done).json() == {"job": done, "status": "queued"}
    worker.start(done)
    assert shown(done).json() == {"job": done, "status": "generating"}
    worker.succeed(done)
    finished = {"job": done, "status": "succeeded", "imageUrl": f"{server_url}/images/{done}.png"}
    assert shown(done).json() == finished
    worker.start(failed)
    worker.fail(failed)
    assert shown(failed).json() == {"job": failed, "status": "failed"}
    assert shown(failed).headers["x-photogram-reason"] == "the picture is all NaN \\u2013 sorry"
    client.delete(f"/v1/jobs/{canceled}")
    assert shown(canceled).json() == {"job": canceled, "status": "failed"}
    assert httpx.get(finished["imageUrl"]).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("fields", "effective"),
    [
        ({"steps": "25", "width": "256.0", "cfg_scale": "7.5", "seed": " 5 "},
         {"num_inference_steps": 25, "width": 256, "guidance_scale": 7.5, "seed": 5}),
        ({"steps": 25.0, "seed": 9_999_999_999_999.0, "height": 256.0},
         {"num_inference_steps": 25, "seed": 9_999_999_999_999, "height": 256}),
        ({"steps": None, "seed": None, "width": None, "sampler": None, "cfg_scale": None, "negative_prompt": None,
          "model": None, "style_preset": None, "upscale": None, "aspect_ratio": None}, {"width": 128}),
        ({"model": "v1-5-pruned-emaonly.safetensors [d7049739]", "upscale": False, "imageUrl": "http://x/y"},
         {"model": "house"}),
        ({"model": "house"}, {"model": "house"}),
        ({"aspect_ratio": "square"}, {"width": 512, "height": 512}),
        ({"aspect_ratio": "portrait"}, {"width": 512, "height": 768}),
        ({"aspect_ratio": "landscape"}, {"width": 768, "height": 512}),
        ({"aspect_ratio": "landscape", "width": 640}, {"width": 640, "height": 512}),
        ({"sampler": "DPM++ 2M Karras", "negative_prompt": "bad"}, {"sampler": "DPM++ 2M Karras"}),
    ],
)  # fmt: skip
def test_what_clients_send_is_understood(client, fields, effective):
    params = params_of(client, **fields)
    assert {name: params[name] for name in effective} == effective


@pytest.mark.parametrize("seed", [-1, -1.0, "-1", -5, None])
def test_negative_seeds_are_drawn(client, seed):
    assert params_of(client, seed=seed)["seed"] >= 0


@pytest.mark.parametrize("content_type", [None, "text/plain;charset=UTF-8", "application/json"])
def test_a_body_is_json_whatever_its_label(client, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert client.post("/v1/sd/generate", content=b'{"prompt":"x"}', headers=headers).status_code == 200


def test_the_lists_are_json_labelled_as_text(client):
    for path, expected in {
        "/v1/sd/models": ["house"],
        "/v1/models/list": ["house"],
        "/v1/sd/samplers": list(SAMPLERS),
    }.items():
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain;charset=UTF-8")
        assert json.loads(answer.text) == expected


def test_the_lists_label_is_a_setting(serve, redis_url, data, key):
    environment = {
        "REDIS_URL": redis_url,
        "PHOTOGRAM_DATA": str(data),
        "PHOTOGRAM_PRODIA_LIST_TYPE": "application/json",
    }
    with serve(create_app(Settings.from_environment(environment))) as url:
        answer = httpx.get(f"{url}/v1/sd/models", headers={"X-Prodia-Key": key})
    assert (answer.headers["content-type"], answer.json()) == ("application/json", ["house"])


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/job/00000000-0000-4000-8000-000000000000", 404, "Job Not Found"),
        ("GET", "/v1/job/..%00", 404, "Job Not Found"),
        ("GET", "/v1/sd/nothing", 404, "Not Found"),
        ("GET", "/v1/sd/generate", 405, "Method Not Allowed"),
    ],
)
def test_other_errors_are_plain_text(client, method, path, status, text):
    answer = client.request(method, path)
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/v1/job/x", "/v1/sd/models", "/v1/models/list", "/v1/sd/samplers"])
def test_reading_needs_a_key_too(anonymous, path):
    answer = anonymous.get(path)
    assert (answer.status_code, answer.text) == (401, "Key Not Recognised")


def finish_soon(worker, redis, *, well: bool) -> threading.Thread:
    """Finishes the one job that will be queued."""

    def work() -> None:
        while not (waiting := redis.lrange("rq:queue:photogram", 0, -1)):
            time.sleep(0.02)
        worker.start(waiting[0].decode())
        (worker.succeed if well else worker.fail)(waiting[0].decode())

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_prodiapy_draws_a_picture(server_url, key, worker, redis):
    prodia = prodiapy.Prodia(api_key=key, base_url=f"{server_url}/v1")
    thread = finish_soon(worker, redis, well=True)
    job = prodia.sd.generate(prompt="puppies", model="dreamshaper_8.safetensors [9d40847d]", steps=20, seed=-1)
    result = prodia.wait(job)
    thread.join()
    assert not result.failed and result.image_url == f"{server_url}/images/{job['job']}.png"
    assert httpx.get(result.image_url, params={"download": 1}).content.startswith(b"\x89PNG")
    assert prodia.constants("/sd/models") == ["house"]


def test_prodiapy_tells_errors_apart(server_url, key, worker, redis):
    prodia = prodiapy.Prodia(api_key=key, base_url=f"{server_url}/v1")
    with pytest.raises(InvalidParameterError, match="Invalid Generation Parameters"):
        prodia.sd.generate(prompt="x", steps=0)
    with pytest.raises(AuthenticationError, match="Key Not Recognised"):
        prodiapy.Prodia(api_key="wrong", base_url=f"{server_url}/v1").sd.generate(prompt="x")
    thread = finish_soon(worker, redis, well=False)
    with pytest.raises(FailedJobError):
        prodia.wait(prodia.sd.generate(prompt="x"))
    thread.join()


async def test_prodiapy_draws_without_blocking(server_url, key, worker, redis):
    prodia = prodiapy.aio.Prodia(api_key=key, base_url=f"{server_url}/v1")
    thread = finish_soon(worker, redis, well=True)
    result = await prodia.wait(await prodia.sd.generate(prompt="puppies"))
    thread.join()
    assert result.image_url.endswith(f"{result.job_id}.png")
    assert "Euler a" in await prodia.constants("/sd/samplers")
