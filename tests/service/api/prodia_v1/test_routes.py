"""Prodia's v1 over HTTP: its paths and their older names, its status words, its errors, its lists."""

from __future__ import annotations

import hashlib
import json
import uuid
from base64 import b64encode
from io import BytesIO

import httpx
import pytest
from PIL import Image as Image

from models.catalog.samplers import LISTED
from models.errors import InputUnavailable
from service.api.app import create_app
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings
from tests.service.api.conftest import EXECUTION
from tests.weight_files import LORA_FILE, safetensors

GENERATING = ["/v1/sd/generate", "/v1/sdxl/generate", "/v1/job", "/v1"]
FROM_IMAGES = ["/v1/sd/transform", "/v1/sdxl/transform", "/v1/transform"]
INPAINTING = ["/v1/sd/inpainting", "/v1/sdxl/inpainting", "/v1/sd/inpaint", "/v1/sdxl/inpaint"]
READING = ["/v1/job/{}", "/v1/sd/generate/job/{}", "/v1/sdxl/generate/job/{}"]
LISTS = [f"/v1/{family}/{what}" for family in ("sd", "sdxl") for what in ("models", "samplers", "loras", "embeddings")]
CATALOG = """
[models.paint]
file = "paint_v1.safetensors"
aliases = ["brush"]
[models.gone]
file = "gone.safetensors"
[models.broken]
folder = "broken"
[models.xl]
folder = "broken"
family = "sdxl"
[models.refiner]
folder = "broken"
family = "sdxl-refiner"
[loras."Film Look"]
file = "film-v1.safetensors"
family = "sdxl"
[embeddings.easynegative]
file = "paint_v1.safetensors"
family = "stable-diffusion"
"""


def encoded(size: tuple[int, int] = (64, 64), level: int = 90) -> str:
    buffer = BytesIO()
    Image.new("RGB", size, (level, 20, 40)).save(buffer, "PNG")
    return b64encode(buffer.getvalue()).decode()


def generate(client: httpx.Client, path: str = "/v1/sd/generate", **fields: object) -> dict:
    answer = client.post(path, json={"prompt": "puppies", **fields})
    assert answer.status_code == 200, (answer.text, answer.headers)
    return answer.json()


def native(client: httpx.Client, job: dict) -> dict:
    return client.get(f"/v1/jobs/{job['job']}").json()


@pytest.mark.parametrize("path", GENERATING)
def test_create_answers_200_with_two_keys(client, queued, path):
    answer = client.post(path, json={"prompt": "puppies in a cloud, 4k"})
    job = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert job == {"job": str(uuid.UUID(job["job"], version=4)), "status": "queued"}
    assert queued() == 1


@pytest.mark.parametrize("path", FROM_IMAGES)
def test_transform(client, path):
    job = native(client, generate(client, path, imageData=encoded(), denoising_strength=0.5, upscale=True))
    assert (job["kind"], job["params"]["strength"], job["params"]["second_pass"]["scale"]) == ("img2img", 0.5, 2)
    assert job["params"]["image"].startswith("input:") and job["params"]["resize_mode"] == "stretch"


@pytest.mark.parametrize("path", INPAINTING)
def test_inpainting(client, path):
    fields = {"imageData": encoded(), "maskData": encoded(level=255), "mask_blur": 4, "inpainting_fill": 2}
    job = native(client, generate(client, path, **fields, inpainting_mask_invert=1, inpainting_full_res="true"))
    mask = job["params"]["mask"]
    assert (job["kind"], mask["fill"], mask["invert"], mask["only_masked"]) == ("inpaint", "latent_noise", True, True)
    assert mask["image"] != job["params"]["image"]


@pytest.mark.parametrize("size", [{"resize": 2}, {"resize": 4}, {}])
def test_upscale(client, size):
    job = client.post("/v1/upscale", json={"imageData": encoded(), "model": "Lanczos", **size}).json()
    assert native(client, job)["params"]["scale"] == size.get("resize", 2)
    shown = client.get(f"/v1/job/{job['job']}").json()
    assert shown["params"] == {"resize": size.get("resize", 2), "model": "Lanczos"}


@pytest.mark.parametrize("path", READING)
def test_the_four_status_words(client, worker, server_url, path):
    def shown(job_id: str) -> httpx.Response:
        return client.get(path.format(job_id))

    done, failed, canceled = (generate(client)["job"] for _ in range(3))
    params = shown(done).json().pop("params")
    assert shown(done).json() == {"job": done, "status": "queued", "params": params}
    worker.start(done)
    assert shown(done).json() == {"job": done, "status": "generating", "params": params}
    worker.succeed(done)
    finished = {"job": done, "status": "succeeded", "imageUrl": f"{server_url}/images/{done}.png", "params": params}
    assert shown(done).json() == finished
    worker.start(failed)
    worker.fail(failed)
    assert (shown(failed).json()["status"], "imageUrl" in shown(failed).json()) == ("failed", False)
    assert shown(failed).headers["x-photogram-reason"] == "the image is all NaN \\u2013 sorry"
    client.post(f"/v1/jobs/{canceled}/cancel")
    assert (shown(canceled).json()["status"], shown(canceled).headers["x-photogram-reason"]) == ("failed", "canceled")


def test_params_have_a1111s_names(client):
    asked = {"negative_prompt": "rain", "cfg_scale": 5, "steps": 9, "seed": 2**53 + 7, "width": 257, "upscale": True}
    job = generate(client, **asked, sampler="Euler a", style_preset="anime")
    assert client.get(f"/v1/job/{job['job']}").json()["params"] == {
        "prompt": "puppies", "negative_prompt": "rain", "cfg_scale": 5.0, "steps": 9, "seed": 7, "upscale": True,
        "sampler_name": "Euler a", "width": 256, "height": 128, "options": {"sd_model_checkpoint": "house"},
    }  # fmt: skip


@pytest.mark.parametrize("url", ["{}/images/{}.png", "{}/{}.png", "{}/{}.png?download=1"])
def test_an_image_is_found_by_its_job_and_drawn_over(client, worker, server_url, url):
    job_id = generate(client)["job"]
    link = url.format(server_url, job_id)
    assert httpx.get(link).status_code == 404
    worker.draw(job_id)
    answer = httpx.get(link)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert Image.open(BytesIO(answer.content)).size == (128, 128)
    assert ("download" in link) is ("content-disposition" in answer.headers)
    assert httpx.head(link).headers["content-length"] == str(len(answer.content))
    again = native(client, generate(client, "/v1/sd/transform", imageUrl=link))
    assert again["params"]["image"] == f"image:{job_id}"


def test_the_link_starts_with_the_public_url(serve, redis_url, data, key, worker):
    settings = Settings(redis_url=redis_url, data=data, public_url="https://images.example.org/draw")
    with (
        serve(create_app(settings)) as url,
        httpx.Client(base_url=url, headers={"X-Prodia-Key": key}, timeout=20) as client,
    ):
        job_id = generate(client)["job"]
        worker.draw(job_id)
        link = client.get(f"/v1/job/{job_id}").json()["imageUrl"]
    assert link == f"https://images.example.org/draw/images/{job_id}.png"


@pytest.mark.parametrize("content_type", [None, "text/plain;charset=UTF-8", "application/json"])
def test_a_body_is_json_whatever_its_label(client, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert client.post("/v1/sd/generate", content=b'{"prompt":"x"}', headers=headers).status_code == 200


REFUSED = {
    "face swap": ("/v1/faceswap", {"sourceUrl": "x", "targetUrl": "y"}, "face swap is not available"),
    "face swap of data": ("/v1/faceswap", {"sourceData": "x", "targetData": "y"}, "face swap is not available"),
    "face restoration": ("/v1/facerestore", {"imageUrl": "http://x/y.png"}, "face restoration is not available"),
    "photomaker": ("/v1/photomaker", {"imageUrls": ["x"], "prompt": "man img"}, "photomaker is not available"),
    "no image": ("/v1/sd/transform", {"prompt": "x"}, "imageUrl: is required for kind img2img"),
    "no mask": ("/v1/sd/inpainting", {"prompt": "x", "imageUrl": "http://x/y.png"}, "maskUrl: is required"),
    "no Base64": ("/v1/sd/transform", {"prompt": "x", "imageData": "???"}, "imageUrl: '???' is not a URL"),
    "fill": ("/v1/sd/inpaint", {"prompt": "x", "inpainting_fill": 4}, "inpainting_fill: must be less"),
    "strength": ("/v1/transform", {"prompt": "x", "imageUrl": "http://x/y", "denoising_strength": 2}, "denoising_str"),
    "controlnet": ("/v1/controlnet", {"prompt": "x", "imageUrl": "http://x/y", "controlnet_model": "canny"},
                   "controlnet_model: there is no ControlNet 'canny'"),
    "module": ("/v1/sd/controlnet", {"prompt": "x", "imageUrl": "http://x/y", "controlnet_model": "canny",
                                     "controlnet_module": "openpose"}, "controlnet_module: openpose is not available"),
    "mode": ("/v1/controlnet", {"prompt": "x", "controlnet_model": "canny", "controlnet_mode": 3}, "controlnet_mode: "),
    "resize": ("/v1/upscale", {"imageUrl": "http://x/y", "resize": 9}, "resize: must be from 0.1 to 8"),
    "upscaler": ("/v1/upscale", {"imageUrl": "http://x/y", "model": "SwinIR 4x"}, "model: the upscaler 'SwinIR 4x'"),
    "upscaled by PLMS": ("/v1/sd/generate", {"prompt": "x", "sampler": "PLMS", "upscale": True}, "upscale: PLMS"),
    "lora": ("/v1/sd/generate", {"prompt": "x <lora:nobody:1>"}, "prompt: there is no LoRA 'nobody'"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "body", "why"), REFUSED.values(), ids=REFUSED)
def test_refusals_say_why(client, queued, path, body, why):
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.text) == (400, "Invalid Generation Parameters")
    assert answer.headers["content-type"].startswith("text/plain")
    assert why in answer.headers["x-photogram-reason"]
    assert queued() == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/job/00000000-0000-4000-8000-000000000000", 404, "Job Not Found"),
        ("GET", "/v1/sd/generate/job/nobody", 404, "Job Not Found"),
        ("GET", "/v1/job/..%00", 404, "Job Not Found"),
        ("GET", "/v1/sd/nothing", 404, "Not Found"),
        ("GET", "/v1/sd/generate", 405, "Method Not Allowed"),
        ("GET", "/v1", 405, "Method Not Allowed"),
        ("GET", "/generate?prompt=x", 404, "Not Found"),
        ("GET", "/job/00000000-0000-4000-8000-000000000000", 404, "Not Found"),
    ],
)
def test_other_errors_are_plain_text(client, method, path, status, text):
    answer = client.request(method, path)
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/v1/job/x", "/v1/models/list", *LISTS])
def test_reading_needs_a_key_too(anonymous, path):
    answer = anonymous.get(path)
    assert (answer.status_code, answer.text) == (401, "Key Not Recognised")


@pytest.mark.parametrize("path", [*GENERATING, *FROM_IMAGES, *INPAINTING, "/v1/controlnet", "/v1/upscale"])
def test_queuing_needs_a_key(anonymous, queued, path):
    answer = anonymous.post(path, json={"prompt": "x"})
    assert (answer.status_code, answer.text, queued()) == (401, "Key Not Recognised", 0)


def test_strangers_do_not_see_a_job(client, stranger):
    assert stranger.get(f"/v1/job/{generate(client)['job']}").status_code == 404


def test_the_lists_are_json_labelled_as_text(client):
    lists = {path: [] for path in LISTS} | {
        "/v1/sd/models": ["house"], "/v1/models/list": ["house"], "/v1/sd/samplers": list(LISTED),
        "/v1/sdxl/samplers": list(LISTED),
    }  # fmt: skip
    for path, expected in lists.items():
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain;charset=UTF-8")
        assert json.loads(answer.text) == expected


def test_the_native_list_is_prodias_for_prodias_header(client, key):
    assert client.get("/v1/models").json()["models"][0]["name"] == "house"
    assert client.get("/v1/models", headers={"X-Prodia-Key": key}).json() == ["house"]


@pytest.fixture
def cataloged(serve, settings, data, key):
    """A client of a server whose catalog has more than it can use."""
    (data / "catalog.toml").write_text(CATALOG)
    paint = safetensors({"x": [0x48000]})
    (data / "paint_v1.safetensors").write_bytes(paint[:0x100000] + b"x" * 0x10000 + paint[0x110000:])
    for folder in ("loras", "broken"):
        (data / folder).mkdir()
    for name in ("film-v1", "loras/grain"):
        (data / f"{name}.safetensors").write_bytes(LORA_FILE)
    (data / "broken" / "model_index.json").write_text("{}")
    with (
        serve(create_app(settings)) as url,
        httpx.Client(base_url=url, headers={"X-Prodia-Key": key}, timeout=20) as client,
    ):
        yield client


def test_the_lists_have_what_can_be_used(cataloged, redis):
    Ledger(redis, 60).note_model_problem("broken", "it is empty")
    short_hash = hashlib.sha256(b"x" * 0x10000).hexdigest()[:8]
    assert cataloged.get("/v1/sd/models").json() == ["house", f"paint_v1.safetensors [{short_hash}]"]
    assert cataloged.get("/v1/sdxl/models").json() == ["xl"]
    assert cataloged.get("/v1/sd/loras").json() == ["grain.safetensors"]
    assert cataloged.get("/v1/sdxl/loras").json() == ["grain.safetensors", "film-v1.safetensors"]
    assert cataloged.get("/v1/sd/embeddings").json() == ["easynegative"]
    assert cataloged.get("/v1/sdxl/embeddings").json() == []


def test_what_is_listed_can_be_asked_for(cataloged):
    for family in ("sd", "sdxl"):
        for name in cataloged.get(f"/v1/{family}/models").json():
            job = generate(cataloged, f"/v1/{family}/generate", model=name, width=512, height=512)
            model = native(cataloged, job)["params"]["model"]
            assert name.startswith(model) or model == "paint"
        for lora in cataloged.get(f"/v1/{family}/loras").json():
            job = generate(cataloged, f"/v1/{family}/generate", prompt=f"x <lora:{lora}:0.5>")
            assert native(cataloged, job)["params"]["loras"][0]["weight"] == 0.5


def test_the_lists_label_is_a_setting(serve, redis_url, data, key):
    environment = {
        "REDIS_URL": redis_url,
        "PHOTOGRAM_DATA": str(data),
        "PHOTOGRAM_PRODIA_LIST_TYPE": "application/json",
    }
    with serve(create_app(Settings.from_environment(environment))) as url:
        answer = httpx.get(f"{url}/v1/sd/models", headers={"X-Prodia-Key": key})
    assert (answer.headers["content-type"], answer.json()) == ("application/json", ["house"])


@pytest.fixture
def keyless(serve, redis_url, data, redis):
    """A client without a key, of a server that is open to everybody."""
    environment = {"REDIS_URL": redis_url, "PHOTOGRAM_DATA": str(data), "PHOTOGRAM_PRODIA_KEYLESS": "1"}
    with (
        serve(create_app(Settings.from_environment(environment))) as url,
        httpx.Client(base_url=url, timeout=20) as client,
    ):
        yield client


def test_the_api_without_keys(keyless, redis):
    query = {
        "new": "true", "prompt": "puppies", "model": "sdv1_4.ckpt [7460a6fa]", "negative_prompt": "", "steps": 7,
        "cfg": 7.5, "seed": 9999999999999, "sampler": "Euler", "aspect_ratio": "square", "upscale": "True",
    }  # fmt: skip
    answer = keyless.get("/generate", params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    job = answer.json()
    assert job["status"] == "queued"
    params = keyless.get(f"/job/{job['job']}").json()["params"]
    assert (params["cfg_scale"], params["seed"], params["width"], params["upscale"]) == (7.5, 9999999999999, 512, True)
    assert keyless.get(f"/v1/job/{job['job']}").status_code == 401


@pytest.mark.parametrize("query", ["", "?prompt=x&steps=many", "?prompt=x&cfg=99", "?prompt=x&steps=0"])
def test_wrong_queries_are_told_in_prodias_words(keyless, query):
    answer = keyless.get(f"/generate{query}")
    assert (answer.status_code, answer.text) == (400, "Invalid Generation Parameters")


def test_jobs_with_an_owner_are_hidden_from_everybody(keyless, redis, key):
    job = keyless.post("/v1/job", json={"prompt": "x"}, headers={"X-Prodia-Key": key}).json()
    answer = keyless.get(f"/job/{job['job']}")
    assert (answer.status_code, answer.text) == (404, "Job Not Found")


def test_a_job_that_fails_by_its_image_names_the_field(client, worker):
    job_id = generate(client)["job"]
    worker.start(job_id)
    worker.ledger.fail(job_id, EXECUTION, InputUnavailable("it is no image", "image"))
    answer = client.get(f"/v1/job/{job_id}")
    assert answer.headers["x-photogram-reason"] == "imageUrl: it is no image"
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert job["error"] == {"code": "input_unavailable", "message": "image: it is no image"}
    later = client.get(f"/v2/job/async/{job_id}/job.json")
    assert later.status_code != 200 or later.json()["error"] == "image: it is no image"
